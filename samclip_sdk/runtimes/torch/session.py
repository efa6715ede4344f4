"""A checkpoint folder in eager torch, with the same five sessions as a bundle."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from samclip_sdk.bundle.contract import contract_graphs, take_rectangles, take_short_texts
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.manifest import TOKENIZER_NAME, Calibration, ModelInfo
from samclip_sdk.errors import BundleError, RuntimeMissingError, one_line
from samclip_sdk.modeling.config import ClipTextConfig, ModelConfig
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import check_feed, check_outputs
from samclip_sdk.system.packages import import_runtime
from samclip_sdk.system.records import first_fault
from samclip_sdk.text.tokenizer import CLIP_TOKENIZER, label_templates

if TYPE_CHECKING:
    from torch import nn

    from samclip_sdk.modeling.build import SamClipModel

# CLIP's tokenizer is the same in every model. A checkpoint need not hold it, but any other one.


class Checkpoint:
    """A checkpoint folder: model.safetensors and config.json; calibration.json may be there.

    Args:
        folder: the checkpoint's folder.
        device: torch's name of the device: "cpu", "cuda:0", "mps".

    Attributes:
        manifest: the same facts about the model as in a bundle's manifest.
        id: 16 hex digits that change with the weights, the config, the calibration and the
            tokenizer.
        runtime: "torch".
        precision: "fp32".
        nouns_path: None, because the nouns are embedded at the export.
        words_path: None, likewise.

    Raises:
        RuntimeMissingError: torch is not installed, or cannot use the device.
        BundleError: a file is missing or damaged.
    """

    runtime = "torch"
    precision = "fp32"
    nouns_path = None
    words_path = None

    def __init__(self, folder: str | os.PathLike[str], *, device: str = "cpu") -> None:
        for module in ("torch", "safetensors"):
            import_runtime(module, extra="torch")
        check_device(device)
        from samclip_sdk.modeling.checkpoint import load_checkpoint

        root = Path(folder)
        model = load_checkpoint(root)
        digests = [file_sha256(root / name) for name in ("model.safetensors", "config.json")]
        calibration = root / "calibration.json"
        digests += [file_sha256(calibration)] if calibration.exists() else []
        self.tokenizer_path = _find_tokenizer(root, model.config)
        digests.append(file_sha256(self.tokenizer_path))
        self.id = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
        self.manifest = _describe(model, root=root, revision=digests[0][:16])
        self._device = device
        self._model = model.to(device)

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Everything that an answer depends on, with the templates, which this package defines."""
        version = import_runtime("torch", extra="torch").__version__
        own = (self.id, self.runtime, self.precision, self._device, version)
        return (*own, *self.manifest.text.templates)

    def session(self, graph: str) -> TorchSession:
        """Opens a graph by its key; image_encoder and clip_head run at any valid resolution.

        Raises:
            BundleError: there is no such graph, or the model does not run at that resolution.
        """
        part, _, resolution = graph.partition("@")
        try:
            specs = contract_graphs(
                self.manifest.model, resolutions=[int(resolution)] if resolution else []
            )
            spec = specs[graph]
        except (KeyError, ValueError) as error:
            raise BundleError(f"the checkpoint has no graph {graph}: {error}") from error
        if part == "text_encoder":
            spec = take_short_texts(spec)
        elif self.manifest.model.takes_rectangles:
            spec = take_rectangles(spec)
        return TorchSession(getattr(self._model, part), spec=spec, device=self._device)


def check_device(device: str) -> None:
    """Refuses a device that torch cannot use here.

    Raises:
        RuntimeMissingError: torch cannot use it; the message has the reason.
    """
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RuntimeMissingError(f"torch cannot use {device} here: {reason}") from error


_EXACT = threading.RLock()


@contextmanager
def exact_fp32(device: str) -> Iterator[None]:
    """Stops CUDA from rounding fp32 to TF32's ten bits, as it does in convolutions by default.

    torch has one setting for the whole process. So only one thread runs at a time, and the setting
    is restored.

    Args:
        device: torch's name of the device; nothing is done for any device but CUDA's.
    """
    import torch

    if torch.device(device).type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    with _EXACT:
        before = convolutions.allow_tf32, products.allow_tf32
        convolutions.allow_tf32 = products.allow_tf32 = False
        try:
            yield
        finally:
            convolutions.allow_tf32, products.allow_tf32 = before


class TorchSession:
    """A part of the model in eager torch, fp32.

    Args:
        module: the part; its forward takes the graph's inputs in the contract's order.
        spec: the graph's contract.
        device: the device that the module is on.
    """

    def __init__(self, module: nn.Module, *, spec: GraphSpec, device: str) -> None:
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self._module: nn.Module | None = module
        self._device = device

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the part; see `Session.run`."""
        import torch

        module = self._module  # read once: another thread may close the session
        if module is None:
            raise ValueError("the session is closed")
        axes = check_feed(feed, inputs=self.inputs)
        with exact_fp32(self._device), torch.inference_mode():
            answer = module(
                *(torch.tensor(feed[spec.name], device=self._device) for spec in self.inputs)
            )
        tensors = answer if isinstance(answer, tuple) else (answer,)
        arrays = {
            spec.name: tensor.cpu().numpy()
            for spec, tensor in zip(self.outputs, tensors, strict=True)
        }
        return check_outputs(arrays, specs=self.outputs, axes=axes)

    def close(self) -> None:
        """Releases the part; the checkpoint and its other sessions keep their references."""
        self._module = None


def _find_tokenizer(root: Path, model: ModelConfig) -> Path:
    """The checkpoint's own tokenizer, or CLIP's.

    Raises:
        BundleError: there is none, and the text encoder does not use CLIP's.
    """
    own = root / TOKENIZER_NAME
    if own.is_file():
        return own
    if isinstance(model.text_encoder, ClipTextConfig):
        return CLIP_TOKENIZER
    raise BundleError(
        f"the checkpoint {root} has no {TOKENIZER_NAME}, which a text encoder of the kind "
        f"{model.text_encoder.kind} needs: copy that of the stage that trained it"
    )


def _describe(model: SamClipModel, *, root: Path, revision: str) -> ModelInfo:
    from samclip_sdk.modeling.checkpoint import read_provenance

    calibration = root / "calibration.json"
    try:
        provenance: dict[str, Any] = read_provenance(root)
        return ModelInfo.of_checkpoint(
            model.config,
            revision=revision,
            templates=label_templates(model.config.text_encoder),
            logit_scale=float(model.logit_scale.exp()),
            calibration=Calibration.model_validate_json(calibration.read_bytes())
            if calibration.exists()
            else None,
            random_weights=provenance.get("random_weights") is True,
            provenance=provenance,
        )
    except (OSError, ValueError, KeyError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else one_line(error)
        raise BundleError(f"the checkpoint {root} cannot be loaded: {reason}") from error
