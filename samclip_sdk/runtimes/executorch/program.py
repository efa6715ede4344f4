"""ExecuTorch's programs: their bytes, and their methods by the names of inputs and outputs."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.runtimes.tensor_checks import FileTensor
from samclip_sdk.system.native_output import quiet_stderr
from samclip_sdk.system.packages import import_runtime

INPUT_NAMES, OUTPUT_NAMES = "input_names", "output_names"
"""Methods of a program that return the names of the tensors of all others, in their order."""

_MARK = b"samclip sha256 "
_DTYPES = {0: "uint8", 3: "int32", 6: "float32"}
"""ExecuTorch's number of a dtype -> numpy's name."""


@cache
def import_executorch() -> Any:
    """Imports ExecuTorch's runtime.

    Its pool of threads writes to stderr what it cannot find out about the processor. So the pool is
    made here, and its notes go nowhere.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torchao, which it imports, tells what of itself is for GPUs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that its interface may change
            runtime = import_runtime("executorch.runtime", extra="executorch").Runtime.get()
    finally:
        logging.disable(before)
    bindings = import_runtime("executorch.extension.pybindings.portable_lib", extra="executorch")
    with quiet_stderr():
        bindings._threadpool_get_thread_count()
    return runtime


def seal(content: bytes) -> bytes:
    """Appends the digest of a program to it; ExecuTorch reads no further than the program."""
    return content + _MARK + hashlib.sha256(content).digest()


class Program:
    """A .pte file of this project's exporter.

    ExecuTorch ends the process at some damaged bytes, and so does XNNPACK. So nothing is given to
    them but what was sealed.

    Attributes:
        methods: the names of the methods that compute the graph.
        inputs: the names of a method's inputs, in their order.
        outputs: the names of its outputs.

    Raises:
        RuntimeMissingError: ExecuTorch is not installed.
        BundleError: the file is cut or changed, or was made by another exporter.
    """

    def __init__(self, path: Path) -> None:
        runtime = import_executorch()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}") from error
        if seal(content[: -len(seal(b""))]) != content:
            raise BundleError(
                f"{path} is cut, changed, or no ExecuTorch program of this project's exporter"
            )
        try:
            self._program = runtime.load_program(content)
            names = self._program.method_names
            self.inputs = self._call(INPUT_NAMES)[0].split(",")
            self.outputs = self._call(OUTPUT_NAMES)[0].split(",")
        except Exception as error:  # ExecuTorch's exceptions have no common base class
            raise BundleError(f"ExecuTorch cannot load {path}: {one_line(error)}") from error
        self.methods = sorted(names - {INPUT_NAMES, OUTPUT_NAMES})

    def tensors(self, method: str) -> tuple[list[FileTensor], list[FileTensor]]:
        """The inputs and the outputs of a method."""
        meta = self._program.metadata(method)
        return (
            _described(self.inputs, meta.num_inputs(), meta.input_tensor_meta),
            _described(self.outputs, meta.num_outputs(), meta.output_tensor_meta),
        )

    def load(self, method: str) -> Any:
        """A method that is ready to run: tensors in, tensors out."""
        return self._program.load_method(method).execute

    def _call(self, method: str) -> Sequence[Any]:
        found: Sequence[Any] = self.load(method)(())
        return found


def _described(names: Sequence[str], count: int, meta: Any) -> list[FileTensor]:
    tensors = (meta(index) for index in range(count))
    return [
        FileTensor(name, _DTYPES.get(each.dtype(), str(each.dtype())), tuple(each.sizes()))
        for name, each in zip(names, tensors, strict=True)
    ]
