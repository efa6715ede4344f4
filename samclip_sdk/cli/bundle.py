"""The commands about bundles: `samclip info | compile | sign | push`."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import Artifact, GraphSpec
from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.hub.push import push_bundle
from samclip_sdk.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL, Bundle, bundle_id, open_bundle
from samclip_sdk.bundle.signature import sign as sign_manifest
from samclip_sdk.bundle.training_sets import is_restricted, told_terms, training_sets
from samclip_sdk.cli.options import AnyPrecision, AsJson, BundleModel, PublicKey
from samclip_sdk.cli.terminal import Display, print_json, print_line, print_table, working
from samclip_sdk.cli.tune import auto_choice, print_auto_choice
from samclip_sdk.errors import BundleError, BundleTamperedError, one_line
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.opening import runtime_states
from samclip_sdk.system.atomic_file import atomic_file

CODE_LICENCE = "Apache-2.0"

_MEGA = 1e6


def info(
    *,
    model: BundleModel = DEFAULT_MODEL,
    key: PublicKey = None,
    files: Annotated[bool, typer.Option("--files", help="list the files of the bundle")] = False,
    licences: Annotated[
        bool,
        typer.Option("--licences", help="list the licences, and the terms of what was trained on"),
    ] = False,
    runtimes: Annotated[
        bool,
        typer.Option(
            "--runtimes", help="tell which runtimes load on this machine, and which one auto takes"
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a bundle holds; with --runtimes, which runtimes load here and why others do not."""
    if runtimes:
        _print_runtimes(model, key=key, as_json=as_json)
        return
    with working("opening") as display:
        bundle = open_named_bundle(model, public_key=key, on_progress=display.show)
    manifest = bundle.manifest
    if licences:
        _print_licences(manifest, as_json=as_json)
        return
    if as_json:
        print_json({"id": bundle.id, "manifest": manifest.model_dump(mode="json")})
        return
    print_table(("", f"{manifest.name} {manifest.revision}"), _facts(bundle, manifest=manifest))
    if files:
        print_table(("file", "MB", "sha256", "holds"), _file_rows(manifest))
    else:
        _print_graphs(manifest)


def compile_engines(
    *,
    model: BundleModel = DEFAULT_MODEL,
    key: PublicKey = None,
    precision: AnyPrecision = None,
    as_json: AsJson = False,
) -> None:
    """Build TensorRT engines for this machine's GPU now, instead of at first use."""
    from samclip_sdk.runtimes.tensorrt.cuda import current_gpu
    from samclip_sdk.runtimes.tensorrt.engine import compile_engine

    rows = []
    with working("asking for the GPU") as display:
        bundle = open_named_bundle(model, public_key=key, on_progress=display.show)
        gpu = current_gpu()
        found = _onnx_files(bundle, precision=precision)
        for index, (file, spec) in enumerate(found, 1):
            show = partial(_show_engine, display, f"engine {index} of {len(found)}")
            engine = compile_engine(file, spec=spec, gpu=gpu, on_progress=show)
            size = f"{len(engine.data) / _MEGA:.1f} MB"
            rows.append((file.path.name, size, "built" if engine.built else "was there"))
    if as_json:
        engines = [{"file": what, "size": size, "state": state} for what, size, state in rows]
        print_json({"gpu": gpu.name, "engines": engines})
        return
    print_table(("file", f"engine for {gpu.name}", ""), rows)


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="the folder of the bundle")],
    *,
    key: Annotated[Path, typer.Option(help="an Ed25519 private key (.pem) without a password")],
    as_json: AsJson = False,
) -> None:
    """Sign a bundle: check all its files, and write manifest.sig beside its manifest.

    With the public key, `samclip verify --key` checks the signature. A .zip of the folder carries
    the signature.
    """
    with working("checking the files"):
        if os.path.isfile(bundle):
            raise BundleError(f"{one_line(bundle)} is not a folder: sign the folder, then zip it")
        opened = open_bundle(bundle)
        opened.verify()
        # Only the bytes that were opened have this id: a manifest that came later is not signed.
        content = (opened.root / MANIFEST_NAME).read_bytes()
        if bundle_id(content) != opened.id:
            raise BundleTamperedError(f"{one_line(bundle)} was changed while it was checked")
        signature = sign_manifest(content, key=key)
        path = opened.root / SIGNATURE_NAME
        with atomic_file(path) as file:
            file.write(signature)
    if as_json:
        print_json({"bundle": opened.id, "signature": str(path)})
    else:
        print_line(f"signed {opened.manifest.name} {opened.manifest.revision}: {path}")


def push(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="a bundle's folder, .zip or name")],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="ORG/NAME",
            help="a repository of the hub, made if there is none; or org/name@branch",
        ),
    ],
    *,
    private: Annotated[
        bool, typer.Option("--private", help="make a new repository private")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="the licence on the hub; by default that of the manifest"),
    ] = None,
    base_model: Annotated[
        list[str] | None, typer.Option(help="a repository that the model was made from; repeatable")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="a tag of the model card; repeatable")
    ] = None,
    message: Annotated[str | None, typer.Option(help="the message of the commit")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a verified bundle with its model card. Log in first: `hf auth login` or HF_TOKEN."""
    with working(
        "opening", if_interrupted="nothing of it can be seen; uploaded files are not sent again"
    ) as display:
        pushed = push_bundle(
            model,
            repository,
            private=private,
            licence=licence,
            base_models=base_model or (),
            tags=tag or (),
            message=message,
            on_progress=display.show,
        )
    if as_json:
        print_json(dataclasses.asdict(pushed))
        return
    print_line(f"{pushed.url} holds the bundle {pushed.bundle_id}, at {pushed.commit}")


def _show_engine(display: Display, which: str, message: str, done: int, total: int) -> None:
    display.show(f"{which}, {message}", done, total)


def _onnx_files(bundle: Bundle, *, precision: str | None) -> list[tuple[GraphFile, GraphSpec]]:
    """The ONNX files of a bundle, in one precision or in all."""
    precisions = [each for kind, each in artifact_sets(bundle) if kind == "onnx"]
    return [
        (bundle.graph_files(name, runtime="onnx", precision=each)[0], spec)
        for each in ([precision] if precision else precisions)
        for name, spec in bundle.manifest.model_graphs.items()
    ]


def _print_runtimes(model: str, *, key: Path | None, as_json: bool) -> None:
    with working("trying the runtimes") as display:
        bundle = open_named_bundle(model, public_key=key, on_progress=display.show)
        states = runtime_states()
        choice = auto_choice(bundle)
    if as_json:
        auto = choice if isinstance(choice, str) else choice.model_dump(mode="json")
        print_json({"runtimes": [state.model_dump() for state in states], "auto": auto})
        return
    rows = [(state.name, state.version, "yes" if state.loads else "no") for state in states]
    print_table(("runtime", "version", "loads here"), rows)
    for state in states:
        if not state.loads:  # not in the table, which would wrap a command that is to be copied
            print_line(f"{state.name}: {state.reason}")
    print_auto_choice(choice)


def _facts(bundle: Bundle, *, manifest: Manifest) -> list[tuple[str, str]]:
    """The most important facts of a bundle, as rows of a table."""
    segmentation, classification = manifest.tasks.segmentation, manifest.tasks.classification
    size = sum(stored.size_bytes for stored in manifest.stored_files())
    artifacts = [each for graph in manifest.graphs.values() for each in graph.artifacts]
    return [
        ("bundle", bundle.id),
        ("size", f"{size / _MEGA:.1f} MB"),
        ("weights", _weights(manifest)),
        ("segmentation", f"{segmentation.resolution} px, {segmentation.crop}"),
        ("classification", f"{classification.resolution} px, {classification.crop}"),
        ("templates", str(len(manifest.text.templates))),
        ("presence threshold", f"{manifest.calibration.presence_threshold:.3f}"),
        ("compared with torch", "; ".join(dict.fromkeys(map(_compared_on, artifacts)))),
        *_licence_facts(manifest),
    ]


def _licence_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """The licences of code and weights, and what the weights were trained on, a row each."""
    parts = ", ".join(f"{each.part}: {each.spdx}" for each in manifest.licences)
    told = told_terms(training_sets(manifest))
    data = [("training data", f"{told}: see --licences")] if told else []
    return [("licence of the code", CODE_LICENCE), ("licences stated", parts), *data]


def _print_licences(manifest: Manifest, *, as_json: bool) -> None:
    sets = training_sets(manifest)
    stated = [each.model_dump(mode="json") for each in manifest.licences]
    if as_json:
        restricted = [name for name, terms in sets.items() if is_restricted(terms)]
        print_json(
            {
                "code": CODE_LICENCE,
                "stated": stated,
                "training_sets": sets,
                "restricted": restricted,
            }
        )
        return
    rows = [(each["part"], each["spdx"], each["source"]) for each in stated]
    print_table(("part", "licence", "source"), [("code", CODE_LICENCE, "this package"), *rows])
    if sets:
        marked = [
            (name, terms, "restricted" * is_restricted(terms)) for name, terms in sets.items()
        ]
        print_table(("trained on", "terms", ""), marked)
        print_line(f"the weights were {told_terms(sets)}")


def _weights(manifest: Manifest) -> str:
    if manifest.random_weights:
        return "random"
    return "trained" if manifest.calibrated else "trained, not calibrated for texts"


def _print_graphs(manifest: Manifest) -> None:
    """Prints the sizes to load: a row for each graph, a column for each runtime and precision."""
    kinds = dict.fromkeys(
        _kind(each) for graph in manifest.graphs.values() for each in graph.artifacts
    )
    rows = []
    for name, graph in manifest.graphs.items():
        sizes: dict[str, float] = {}
        for artifact in graph.artifacts:
            stored = (artifact, *artifact.weights)
            loaded = sum(each.size_bytes for each in stored) / _MEGA
            sizes[_kind(artifact)] = sizes.get(_kind(artifact), 0.0) + loaded
        rows.append((name, *(f"{sizes[kind]:.2f}" if kind in sizes else "-" for kind in kinds)))
    print_table(("graph: MB to load", *kinds), rows)


def _file_rows(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    """Every file and its use; weights belong to all artifacts that name them."""
    holds: dict[str, list[str]] = {}
    for name, graph in manifest.graphs.items():
        for artifact in graph.artifacts:
            holds.setdefault(artifact.path, []).append(f"{name} {_kind(artifact)}")
            for weights in artifact.weights:
                holds.setdefault(weights.path, []).append(f"weights of {name}")
    return [
        (
            stored.path,
            f"{stored.size_bytes / _MEGA:.2f}",
            stored.sha256[:16],
            "; ".join(dict.fromkeys(holds.get(stored.path, ()))),
        )
        for stored in manifest.stored_files()
    ]


def _kind(artifact: Artifact) -> str:
    return f"{artifact.runtime} {artifact.precision}"


def _compared_on(artifact: Artifact) -> str:
    if artifact.parity.measured_on is None:
        return f"nothing yet ({_kind(artifact)})"
    return artifact.parity.measured_on
