"""The sets of artifacts in a bundle, and the runtimes that can run them.

A set has all graphs that the SDK runs, in one precision. Some runtimes have no artifacts of their
own and read the ONNX files; see `table`.
"""

from __future__ import annotations

from dataclasses import dataclass

from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.bundle.manifest import NOUNS_NAME, TOKENIZER_NAME, WORDS_NAME, Manifest
from samclip_sdk.bundle.open import DEFAULT_CHECKPOINT, DEFAULT_MODEL, Bundle
from samclip_sdk.errors import BundleError
from samclip_sdk.runtimes.table import RUNTIMES


@dataclass(frozen=True)
class RuntimeSet:
    """A set of artifacts on a runtime.

    Attributes:
        runtime: the runtime that runs the set.
        precision: the precision that the set runs in.
        artifact_precision: the precision of the files.
    """

    runtime: str
    precision: str
    artifact_precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"

    @property
    def artifact_runtime(self) -> str:
        """The runtime whose files it reads."""
        return RUNTIMES[self.runtime].reads


def artifact_sets(bundle: Bundle) -> tuple[tuple[str, str], ...]:
    """The runtimes and precisions in which a bundle has every graph that the SDK runs."""
    graphs = bundle.manifest.model_graphs.values()
    kinds = [{(each.runtime, each.precision) for each in graph.artifacts} for graph in graphs]
    order = [(each.runtime, each.precision) for graph in graphs for each in graph.artifacts]
    return tuple(kind for kind in dict.fromkeys(order) if all(kind in each for each in kinds))


def runtime_sets(bundle: Bundle) -> tuple[RuntimeSet, ...]:
    """Every runtime and precision for a bundle, on any machine; sets in the bundle's order."""
    return tuple(
        RuntimeSet(known.name, name, reads)
        for files, precision in artifact_sets(bundle)
        for known in RUNTIMES.values()
        for name, reads in known.precisions.items()
        if (known.reads, reads) == (files, precision)
    )


def graph_files(manifest: Manifest, *, runtime_set: RuntimeSet) -> tuple[StoredFile, ...]:
    """The files of a set's graphs and their weights, each once.

    Args:
        manifest: the manifest of the bundle.
        runtime_set: a set of that bundle.
    """
    kind = (runtime_set.artifact_runtime, runtime_set.artifact_precision)
    artifacts = [
        each
        for graph in manifest.model_graphs.values()
        for each in graph.artifacts
        if (each.runtime, each.precision) == kind
    ]
    files = {file.path: file for each in artifacts for file in (*each.weights, each)}
    return tuple(files.values())


def set_paths(manifest: Manifest, *, runtime_set: RuntimeSet) -> tuple[str, ...]:
    """The files that the SDK reads to run a set: `graph_files`, the tokenizer and the nouns."""
    paths = [each.path for each in graph_files(manifest, runtime_set=runtime_set)]
    of_texts = (TOKENIZER_NAME, NOUNS_NAME, WORDS_NAME)
    paths += [each.path for each in manifest.files if each.path in of_texts]
    return tuple(dict.fromkeys(paths))


def find_set(bundle: Bundle, *, runtime: str, precision: str | None) -> RuntimeSet:
    """The set of a bundle for a runtime.

    Args:
        bundle: the bundle.
        runtime: the runtime that runs the set.
        precision: the wanted precision; if None, the runtime's first in the bundle's order.

    Raises:
        BundleError: there is no such set.
    """
    own = [each for each in runtime_sets(bundle) if each.runtime == runtime]
    found = next((each for each in own if precision in (None, each.precision)), None)
    if found is not None:
        return found
    held = ", ".join(f"{kind} {each}" for kind, each in artifact_sets(bundle))
    wanted = f"{runtime} {precision}" if precision else runtime
    names = ", ".join(each.precision for each in own)
    way_out = f"{runtime} runs it in {names}" if own else _exported(bundle, runtime, precision)
    raise BundleError(
        f"the bundle {bundle.manifest.name} has files for {held}, not for {wanted}; {way_out}"
    )


def _exported(bundle: Bundle, runtime: str, precision: str | None) -> str:
    """Which command makes the files that a bundle lacks."""
    known = RUNTIMES[runtime]
    checkpoint = DEFAULT_CHECKPOINT if bundle.manifest.name == DEFAULT_MODEL else "CHECKPOINT"
    kind = known.precisions.get(precision or "", next(iter(known.precisions.values())))
    return (
        f"in a checkout, `python -m export {checkpoint} FOLDER --{known.reads} {kind}` makes them: "
        "docs/how-to/export.md"
    )
