"""Where a model's graphs come from: a bundle on a runtime, or a checkpoint in eager torch."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.manifest import NOUNS_NAME, TOKENIZER_NAME, WORDS_NAME, ModelInfo
from samclip_sdk.bundle.open import DEFAULT_MODEL, EMBEDDED, Bundle
from samclip_sdk.errors import TextError, UnverifiedArtifactWarning
from samclip_sdk.runtimes.artifact_sets import find_set, set_paths
from samclip_sdk.runtimes.onnx.providers import CPU_PROVIDER, wanted_providers
from samclip_sdk.runtimes.opening import open_session
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions, device_index
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.sign_off import SignOffKey
from samclip_sdk.runtimes.table import RUNTIMES, Runtime
from samclip_sdk.runtimes.versions import runtime_version
from samclip_sdk.system.hardware import cpu_name, gpu_name
from samclip_sdk.system.user_warning import warn_user


class ModelSource(Protocol):
    """Where the graphs come from: a bundle on some runtime, or a checkpoint in eager torch."""

    @property
    def id(self) -> str:
        """An id that changes with anything that changes an output."""

    @property
    def runtime(self) -> str:
        """The name of the runtime that runs the graphs; see `table`."""

    @property
    def precision(self) -> str:
        """The precision of the graphs."""

    @property
    def manifest(self) -> ModelInfo:
        """The model's sizes, tasks, templates and thresholds."""

    @property
    def tokenizer_path(self) -> Path:
        """The model's tokenizer.json."""

    @property
    def nouns_path(self) -> Path | None:
        """The model's vocabulary pack of nouns; None if it has none."""

    @property
    def words_path(self) -> Path | None:
        """The model's table of words; None if it has none."""

    def session(self, graph: str) -> Session:
        """Opens a graph by its key, such as `image_encoder@256`."""


class OpenedSource(ModelSource, Protocol):
    """A source that was opened by name; its answers may be stored for later processes."""

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Everything that an answer depends on: model, runtime, precision, device and version."""


class BundleSource:
    """A bundle on a runtime. All its files are verified here; sessions are opened later.

    Warns with UnverifiedArtifactWarning if the artifacts were never compared with eager torch on
    this runtime and kind of device. The warning ends when `samclip verify` has passed here for this
    runtime, provider and device, and for the installed version.

    Args:
        bundle: the bundle with the artifacts.
        runtime: the runtime that runs it, one of `OF_BUNDLES`.
        precision: the precision that it runs in; the bundle's preferred one if None.
        options: the runtime's options.
        warn: whether to warn; False if the caller is going to verify the artifacts.

    Attributes:
        bundle: as given.
        id: the bundle's id.
        manifest: the bundle's manifest.
        runtime: as given.
        precision: the precision that it runs in.

    Raises:
        BundleError: a graph has no such artifact, or a file is missing.
        BundleTamperedError: a file was changed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        runtime: str,
        precision: str | None,
        options: RuntimeOptions = DEFAULT_OPTIONS,
        warn: bool = True,
    ) -> None:
        self.bundle = bundle
        self.id = bundle.id
        self.manifest: ModelInfo = bundle.manifest
        self.runtime = runtime
        self._options = options
        found = find_set(bundle, runtime=runtime, precision=precision)
        self.precision = found.precision
        self._set = found
        bundle.gather(set_paths(bundle.manifest, runtime_set=found))
        self._files = {graph: self._graph_files(graph) for graph in bundle.manifest.model_graphs}
        if warn and not self.proven and not self.verified:
            warn_user(self._warning(), UnverifiedArtifactWarning)

    @property
    def proven(self) -> bool:
        """Whether the export compared all graphs on this runtime: ONNX files on the CPU only."""
        compared = all(file.proven for files in self._files.values() for file in files)
        return compared and self._known.reads == self.runtime and not self._on_gpu

    @property
    def verified(self) -> bool:
        """Whether `samclip verify` has passed here for everything that an answer depends on."""
        return self.sign_off_key.path.is_file()

    @property
    def sign_off_key(self) -> SignOffKey:
        """The key of this source's verification report."""
        options = self._options
        device = (gpu_name() if self._on_gpu else "") or cpu_name()
        index = device_index(options.device or "")
        return SignOffKey(
            bundle_id=self.id,
            runtime=self.runtime,
            precision=self.precision,
            providers=wanted_providers(options) if "providers" in self._known.options else (),
            compute_units=options.compute_units,
            device=f"{device}, number {index}" if index else device,
            version=runtime_version(self.runtime),
        )

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Everything that an answer depends on."""
        return tuple(str(each) for each in self.sign_off_key.model_dump().values())

    @property
    def verify_command(self) -> str:
        """The command that makes this source's verification report."""
        options = self._options
        chosen = {
            "--precision": (self.precision,),
            "--device": (options.device,) if options.device else (),
            "--provider": options.providers,
        }
        if "compute_units" in self._known.options:
            chosen["--compute-units"] = (options.compute_units,)
        arguments = [f"{name} {value}" for name, values in chosen.items() for value in values]
        is_default = Path(self.bundle.name) == EMBEDDED / DEFAULT_MODEL
        model = () if is_default else (f"--model {shlex.quote(self.bundle.name)}",)
        return " ".join(("samclip verify", *model, f"--runtime {self.runtime}", *arguments))

    @property
    def _on_gpu(self) -> bool:
        if "providers" in self._known.options:
            return wanted_providers(self._options) != (CPU_PROVIDER,)
        return self._known.on_gpu

    @property
    def _known(self) -> Runtime:
        return RUNTIMES[self.runtime]

    def _warning(self) -> str:
        key = self.sign_off_key
        return (
            f"the graphs of {self.manifest.name} were never compared with their reference on "
            f"{key} here ({key.device}, {key.version}): run `{self.verify_command}`"
        )

    @property
    def tokenizer_path(self) -> Path:
        """The bundle's tokenizer.json, verified."""
        return self.bundle.file(TOKENIZER_NAME)

    @property
    def nouns_path(self) -> Path | None:
        """The bundle's nouns.safetensors, verified; None if the bundle has none."""
        return self._optional(NOUNS_NAME)

    @property
    def words_path(self) -> Path | None:
        """The bundle's words.json, verified; None if the bundle has none."""
        return self._optional(WORDS_NAME)

    def session(self, graph: str) -> Session:
        """Opens a graph by its key.

        Raises:
            TextError: the bundle has no text_encoder.
        """
        if graph not in self.bundle.manifest.graphs:
            # The manifest guarantees every other graph that the client runs.
            raise TextError(
                f"the bundle {self.manifest.name} has no {graph}: it knows the labels of "
                "vocabulary packs only, see load_vocabulary and --vocabulary"
            )
        return open_session(
            self.runtime,
            files=self._files.get(graph) or self._graph_files(graph),
            spec=self.bundle.manifest.graphs[graph],
            options=self._options,
        )

    def _optional(self, name: str) -> Path | None:
        """A file that a bundle may lack, verified."""
        named = any(each.path == name for each in self.bundle.manifest.files)
        return self.bundle.file(name) if named else None

    def _graph_files(self, graph: str) -> tuple[GraphFile, ...]:
        """The verified artifacts of a graph in this set."""
        files = self.bundle.graph_files(
            graph,
            runtime=self._set.artifact_runtime,
            precision=self._set.artifact_precision,
        )
        return tuple(replace(file, precision=self.precision) for file in files)
