"""LiteRT files: fixed shapes in the file, any number of prompts for the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.runtimes.bucket_session import BucketSession
from samclip_sdk.runtimes.buckets import Lengths
from samclip_sdk.runtimes.litert.interpreter import import_interpreter
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.session import Arrays, run_failure
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_bucket

Details = Mapping[str, Mapping[str, Any]]
"""Tensor name -> what LiteRT tells of the tensor."""


@dataclass(frozen=True)
class _Signature:
    """A signature of a file: a bucket of the graph.

    Attributes:
        run: LiteRT's runner; called with the inputs by name, it returns the outputs by name.
        lengths: the length of each symbolic axis.
    """

    run: Any
    lengths: Lengths


class LiteRTSession(BucketSession):
    """A .tflite file with a signature for each set of lengths of its graph's symbolic axes.

    Each signature is a bucket, see `Buckets`; all of them share the file's weights. Calls of
    several threads run one after another, because LiteRT requires it for an interpreter.

    Args:
        file: the file.
        spec: the graph's contract, which every signature must keep.
        options: the number of threads; one for each core if 0, for LiteRT's own choice is one.

    Raises:
        RuntimeMissingError: LiteRT is not installed.
        BundleError: the file cannot be loaded, or a signature has other inputs or outputs.
    """

    def __init__(
        self, file: GraphFile, *, spec: GraphSpec, options: RuntimeOptions = DEFAULT_OPTIONS
    ) -> None:
        self._signatures = _open(file, spec=spec, threads=options.threads or os.cpu_count() or 1)
        lengths = [each.lengths for each in self._signatures]
        super().__init__(spec, lengths=lengths, where="this LiteRT file")

    def _free(self) -> None:
        self._signatures = []

    def _call(self, number: int, feed: Arrays) -> Arrays:
        own = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        try:
            found: Arrays = self._signatures[number].run(**own)
        except ValueError as error:  # of the file: the feed has been checked
            raise run_failure("the LiteRT file", error) from error
        return found


def _open(file: GraphFile, *, spec: GraphSpec, threads: int) -> list[_Signature]:
    """Loads a file and checks each of its signatures."""
    module = import_interpreter()
    try:
        interpreter = module.Interpreter(model_path=str(file.path), num_threads=threads)
        runners = [
            interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()
        ]
        described = [(each.get_input_details(), each.get_output_details()) for each in runners]
    except Exception as error:  # LiteRT's exceptions have no common base class
        raise BundleError(f"LiteRT cannot load {file.path}: {one_line(error)}") from error
    if not runners:
        raise BundleError(f"{file.path.name} has no signature: it was made by another exporter")
    return [
        _Signature(
            runner,
            lengths=check_bucket(
                _tensors(inputs), _tensors(outputs), spec=spec, where=file.path.name
            ),
        )
        for runner, (inputs, outputs) in zip(runners, described, strict=True)
    ]


def _tensors(details: Details) -> list[FileTensor]:
    return [
        FileTensor(name, np.dtype(each["dtype"]).name, tuple(map(int, each["shape"])))
        for name, each in details.items()
    ]
