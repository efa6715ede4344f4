"""A bundle is what the contract says, runs from where it lies, and is never half there."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import onnx
import pytest

from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import random_source
from export.to_onnx import DATA_DEPENDENT
from samclip_sdk import SamClip
from samclip_sdk.bundle.contract import contract_app_graphs, contract_graphs, file_stem
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.errors import ImageError, StorageError
from samclip_sdk.modeling.build import build_model
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.text.vocabulary import read_vocabulary
from tests.half_written import writing
from tests.refusals import refused
from tests.tiny_config import BUNDLED, TINY

ROOT = Path(__file__).parents[2]
GRAPHS = (
    "image_encoder@32",
    "clip_head@32",
    "image_encoder@64",
    "clip_head@64",
    "text_encoder",
    "prompt_encoder",
    "mask_decoder",
)


def test_bundle_holds_the_contract(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    bundle.verify()
    manifest = bundle.manifest
    contract = contract_graphs(BUNDLED, resolutions=(32, 64))
    assert tuple(manifest.model_graphs) == tuple(contract) == GRAPHS
    apps = contract_app_graphs(BUNDLED, resolutions=(32, 64))
    assert manifest.graphs.keys() - set(GRAPHS) == apps.keys()
    assert manifest.random_weights
    assert manifest.provenance["checkpoint"] == {"random_weights": True, "seed": 1}
    there = {str(path.relative_to(tiny_bundle)) for path in tiny_bundle.rglob("*.*")}
    listed = {file.path for file in manifest.stored_files()} - {"NOTICE"}
    assert there == listed | {"manifest.json"}
    for graph in manifest.graphs.values():
        parity = graph.artifacts[0].parity
        assert parity.measured_on is not None
        assert parity.measured_on.startswith("onnxruntime")
        assert parity.measurements


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_is_static_and_says_nothing_of_this_machine(tiny_bundle: Path, name: str) -> None:
    path = tiny_bundle / "onnx" / f"{file_stem(name)}.onnx"
    graph = onnx.load(path, load_external_data=False)
    assert not {node.op_type for node in graph.graph.node} & DATA_DEPENDENT
    assert str(ROOT).encode() not in path.read_bytes()
    assert graph.ir_version <= 8
    onnx.checker.check_model(path, full_check=True)


def test_resolutions_share_their_weights(tiny_bundle: Path) -> None:
    graphs = open_bundle(tiny_bundle).manifest.graphs
    small, large = (graphs[f"image_encoder@{at}"].artifacts[0].weights for at in (32, 64))
    assert small == large
    parameters = sum(each.numel() for each in build_model(BUNDLED).image_encoder.parameters())
    assert small[0].size_bytes < 4 * parameters + 4096


@pytest.mark.slow
def test_each_step_is_told_before_it_begins(full_export: Path) -> None:
    """Six precisions of every graph: all steps that there are, but those of trained weights."""
    told = json.loads((full_export / "steps.json").read_text())
    graphs = open_bundle(full_export / "bundle").manifest.model_graphs
    # Each graph is traced, planned, converted to ONNX in three precisions and to Core ML at once,
    # and checked in six. Those of apps are written: the letterboxes, text_to_mask for Core ML, and
    # that in all six.
    total = 1 + (2 + 3 + 1 + 6) * len(graphs) + (2 + 6) + 3
    assert [(done, of) for _, done, of in told] == [(done, total) for done in range(total)]
    messages = [message for message, _, _ in told]
    assert messages[0] == "running eager torch"
    assert messages[-1] == "running the goldens on onnx in int8"
    assert messages.count("checking mask_decoder on Core ML in palette6") == 1


def test_the_nouns_of_a_checkpoint_are_embedded(tiny_bundle: Path, tmp_path: Path) -> None:
    """By eager torch, in int8; they are one of the bundle's files."""
    source = BundleSource(open_bundle(tiny_bundle), runtime="onnx", precision="fp32", warn=False)
    path = source.nouns_path
    assert path == tiny_bundle.resolve() / "nouns.safetensors"
    pack = read_vocabulary(path, manifest=source.manifest)
    assert pack.labels == ("dog", "red panda")
    assert pack.thresholds == (None, 0.75)
    own_pack = tmp_path / "own.safetensors"
    with SamClip(source) as model:
        assert model.label_thresholds(["red panda"]) == (0.75,)
        model.save_vocabulary(own_pack, pack.labels)
    assert path.stat().st_size < own_pack.stat().st_size
    own = read_vocabulary(own_pack, manifest=source.manifest).matrix
    assert ((own * pack.matrix).sum(axis=1) > 0.999).all()


@pytest.mark.slow
def test_int8_takes_its_ranges_from_the_folder_that_is_given(tmp_path: Path) -> None:
    """Here one whose image is cut: nothing is exported."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = replace(random_source(TINY, seed=0), random_weights=False)
    options = ExportOptions(onnx=("int8",), calibration_set=tmp_path / "set")
    with pytest.raises(ImageError, match=r"cut\.png"):
        write_bundle(source, tmp_path / "out", options=options)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


def begin_export(out: Path, *, then: Callable[[], object]) -> None:
    """Begins an export; `then` is called at its first step, and should not return."""

    def on_progress(doing: str, done: int, total: int) -> None:
        tempfile.mkdtemp()  # as measuring ranges does, and coremltools
        then()

    source = random_source(TINY, seed=0)
    write_bundle(source, out, options=ExportOptions(), on_progress=on_progress)


def fail(error: Exception) -> Callable[[], object]:
    return Mock(side_effect=error)


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    refused(
        lambda: begin_export(tmp_path / "bundle", then=fail(full)),
        StorageError,
        "No space",
    )
    assert not list(tmp_path.iterdir())


KILLED = """
import sys
from pathlib import Path
from tests.export.test_bundle_writer import begin_export

def wait():
    print("half is written", flush=True)
    sys.stdin.read()

begin_export(Path(sys.argv[1]), then=wait)
"""


def test_what_a_killed_export_left_is_removed_by_the_next_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("temporary")
    with writing(KILLED, tmp_path / "bundle", TMPDIR=str(elsewhere)):
        pass
    (left,) = tmp_path.glob(".*.partial")
    assert (left / "new" / "tokenizer.json").exists()
    assert len(list((left / "new" / ".temporary").iterdir())) == 1
    assert list(elsewhere.glob("tmp*")) == []
    with pytest.raises(KeyError):
        begin_export(tmp_path / "b", then=fail(KeyError()))
    assert not list(tmp_path.iterdir())
