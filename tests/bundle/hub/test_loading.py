"""Models of a hub: what is asked of it, when, with which token, and that it is the same model."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from samclip_sdk import RuntimeMissingError, SamClip, SamClipError
from samclip_sdk.cli.app import app
from samclip_sdk.errors import (
    BundleError,
    BundleSchemaError,
    HubError,
    HubUnreachableError,
    OptionError,
)
from samclip_sdk.runtimes.source import BundleSource
from tests.bundle.hub.sample import id_of, in_repository, paths_of, sample_bundle
from tests.bundle.hub.server import HubServer
from tests.bundle.hub.state import TOKEN
from tests.drawings import TINY_BUNDLE
from tests.refusals import refused
from tests.source_tree import ROOT

DOG = ROOT / "examples" / "images" / "dog.jpg"


DECODER = "bundle/onnx/mask_decoder.onnx"


def load(precision: str = "fp32", *, model: str = "org/sample", **options: Any) -> SamClip:
    return SamClip.load("onnx", model=model, precision=precision, threads=1, **options)


class TestNamesThatMayBePaths:
    def test_no_token_is_sent_for_what_may_be_a_missing_folder(
        self, sample: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        SamClip.load("onnx", model="org/sample")
        assert {each.token for each in sample.log} == {""}
        sample.log.clear()
        SamClip.load("onnx", model="org/sample@main")
        load(revision="main")
        load(token=True)
        assert {each.token for each in sample.log} == {TOKEN}

    def test_in_a_folder_that_is_here_a_name_is_a_path(
        self, sample: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A volume that is not mounted, say: a stranger's bundle must not take its place."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "org").mkdir()
        refused(load, BundleError, "the folder org", "sample@main")
        assert sample.log == []
        SamClip.load("onnx", model="org/sample@main")
        load(revision="main")


class TestRequests:
    def test_only_what_the_runtime_reads_and_the_manifest_first(self, sample: HubServer) -> None:
        load("int8")
        first, *others = sample.paths()
        assert first == "bundle/manifest.json"
        assert len(others) == len(set(others))
        assert set(others) == paths_of("int8")

    def test_another_precision_brings_what_is_missing(self, sample: HubServer) -> None:
        load("int8")
        sample.log.clear()
        load("fp32")
        assert set(sample.paths()) == paths_of("fp32") - paths_of("int8")
        assert sample.paths("HEAD").count("bundle/manifest.json") == 2  # before files come, too

    def test_a_second_load_asks_for_the_commit_alone(self, sample: HubServer) -> None:
        load()
        sample.log.clear()
        load()
        assert (sample.paths("HEAD"), sample.paths()) == (["bundle/manifest.json"], [])

    def test_a_commit_is_asked_for_once(self, sample: HubServer) -> None:
        commit = sample.repositories["org/sample"].refs["main"]
        load(revision=commit)
        sample.log.clear()
        load(revision=commit)
        SamClip.load("onnx", model=f"org/sample@{commit}")
        assert sample.log == []

    def test_an_edited_model_card_brings_nothing(self, sample: HubServer) -> None:
        load()
        sample.log.clear()
        sample.commit("org/sample", {"README.md": b"edited"})
        load()
        assert sample.paths() == ["bundle/manifest.json"]

    def test_a_new_bundle_is_another_model(self, sample: HubServer) -> None:
        old, commit = load().source.id, sample.repositories["org/sample"].refs["main"]
        sample.commit("org/sample", in_repository(sample_bundle(revision="2")))
        assert load().source.id != old
        assert load(revision=commit).source.id == old

    def test_who_asks_says_who_it_is_and_nothing_else(self, sample: HubServer) -> None:
        load()
        assert {each.headers["user-agent"].partition("/")[0] for each in sample.log} == {
            "samclip-sdk"
        }
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"

    def test_progress_is_told_and_nothing_is_printed(
        self, sample: HubServer, capfd: pytest.CaptureFixture[str]
    ) -> None:
        told: list[tuple[str, int, int]] = []
        load(on_progress=lambda *each: told.append(each))
        messages = [each for each in told if each[0] == "downloading org/sample (MB)"]
        assert messages
        assert [done for _, done, _ in messages] == sorted(done for _, done, _ in messages)
        assert capfd.readouterr() == ("", "")


class TestOffline:
    def test_what_is_here_is_enough(
        self, sample: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load()
        sample.faults.down = True
        asked = len(sample.log)
        load()
        assert len(sample.log) == asked + 1
        load(local_files_only=True)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        load()
        assert len(sample.log) == asked + 1

    def test_what_was_never_loaded(self, sample: HubServer, tmp_path: Path) -> None:
        refused(lambda: load(local_files_only=True), HubError, "org/sample at main")
        sample.faults.down = True
        refused(load, HubUnreachableError, "org/sample at main", "folder or .zip here")
        assert not list(tmp_path.rglob("*.json"))

    def test_another_precision_that_was_never_loaded(self, sample: HubServer) -> None:
        load("int8")
        refused(lambda: load(local_files_only=True), HubError, "weights of org/sample@")
        sample.faults.down = True
        refused(load, HubUnreachableError, "network")

    def test_a_hub_with_a_fault_is_no_hindrance(self, sample: HubServer) -> None:
        load()
        sample.faults.status["bundle/manifest.json"] = [503]
        load()


def without(path: str) -> dict[str, bytes]:
    files = in_repository(sample_bundle())
    del files[path]
    return files


def leads_out() -> dict[str, bytes]:
    text = sample_bundle()["manifest.json"].replace(b"tokenizer.json", b"../../tokenizer.json")
    return {"bundle/manifest.json": text}


WHOLE = in_repository(sample_bundle())
REFUSED: dict[str, tuple[dict[str, Any], dict[str, bytes], type[SamClipError], tuple[str, ...]]] = {
    "no repository": ({"model": "org/none"}, WHOLE, HubError, ("org/none", "HF_TOKEN")),
    "no revision": ({"revision": "v9"}, WHOLE, HubError, ("org/sample", "v9")),
    "another token": ({"token": "wrong"}, WHOLE, HubError, ("the token",)),
    "nobody logged in": ({"token": True}, WHOLE, HubError, ("logged in",)),
    "no bundle": ({}, {"model.safetensors": b""}, HubError, ("main", "bundle/manifest.json")),
    "no schema": ({}, {"bundle/manifest.json": b"{}"}, BundleSchemaError, ("None",)),
    "no JSON": ({}, {"bundle/manifest.json": b"no"}, BundleSchemaError, ("manifest",)),
    "too large": ({}, {"bundle/manifest.json": b" " * (17 << 20)}, HubError, ("manifest.json",)),
    "a path that leads out": ({}, leads_out(), BundleError, ("path",)),
    "a file less": ({}, without(DECODER), HubError, (DECODER,)),
    **{
        repr(token): ({"token": token}, WHOLE, OptionError, ("token",))
        for token in ("", "two words", "line\nbreak", "é")
    },
}


class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    def test_refusals(self, hub: HubServer, tmp_path: Path, name: str) -> None:
        options, files, error, named = REFUSED[name]
        hub.commit("org/sample", files)
        told = str(refused(lambda: load(**options), error, *named))
        assert options.get("token") != "wrong" or "wrong" not in told
        assert error is not OptionError or hub.log == []
        assert name == "a file less" or not list(tmp_path.rglob("*.json"))

    def test_a_private_repository(self, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        hub.commit("org/sample", WHOLE, private=True)
        refused(load, HubError, "org/sample", "private", "log in")
        assert load("int8", token=TOKEN).source.precision == "int8"
        hub.log.clear()
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        refused(lambda: load("int8", token=False), HubError, "private")
        load("int8", token=True)
        assert {each.token for each in hub.log} == {"", TOKEN}

    def test_a_gated_repository(self, hub: HubServer) -> None:
        hub.commit("org/sample", WHOLE, gated=True)
        refused(load, HubError, "org/sample is gated", "http")

    def test_an_address_that_is_no_hub(
        self, hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/api")
        refused(load, HubError, 404)
        monkeypatch.setenv("HF_ENDPOINT", "nonsense")
        refused(load, HubUnreachableError, "nonsense")

    def test_a_package_that_is_missing_or_old(
        self, sample: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.__version__", "0.36.2")
        refused(load, RuntimeMissingError, "huggingface_hub 0.36.2", "pip")
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        refused(load, RuntimeMissingError, "org/sample", 'pip install "samclip-sdk[hub]"')
        assert sample.log == []

    def test_what_is_here_needs_no_package(
        self, sample: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load()
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        load(local_files_only=True)
        load(revision=sample.repositories["org/sample"].refs["main"])

    @pytest.mark.parametrize("status", [400, 403])
    def test_a_file_that_may_not_be_read(self, sample: HubServer, status: int) -> None:
        sample.faults.status["bundle/tokenizer.json"] = [status]
        refused(load, HubError, "org/sample", status)


class TestNames:
    def test_a_folder_here_wins(
        self, sample: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "org").mkdir()
        (tmp_path / "org" / "sample").symlink_to(TINY_BUNDLE)
        monkeypatch.chdir(tmp_path)
        SamClip.load("onnx", model="org/sample")
        assert sample.log == []

    def test_what_holds_a_slash_is_a_model(self, sample: HubServer) -> None:
        no_runtime = partial(SamClip.load, "org/sample", model="other")
        refused(no_runtime, RuntimeMissingError, "'org/sample'", "other")
        refused(lambda: SamClip.load("org/other"), HubError, "org/other")

    def test_it_can_be_named_again(self, sample: HubServer) -> None:
        source = load().source
        commit = sample.repositories["org/sample"].refs["main"]
        assert isinstance(source, BundleSource)
        assert source.bundle.name == f"org/sample@{commit}"
        assert f"samclip verify --model org/sample@{commit} " in source.verify_command

    def test_bundles_here_need_no_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        SamClip.load("onnx", model=TINY_BUNDLE)


class TestCommands:
    def test_info_asks_for_the_manifest_alone(self, sample: HubServer) -> None:
        result = CliRunner().invoke(app, ["info", "--model", "org/sample", "--json"])
        assert json.loads(result.stdout)["id"] == id_of(sample_bundle())
        assert sample.paths() == ["bundle/manifest.json"]


class TestARealModel:
    def test_it_answers_as_the_bundle_here_does(self, tiny: HubServer) -> None:
        options = {"precision": "int8", "threads": 1}
        SamClip.load("onnx", model="org/tiny", **options)
        tiny.faults.down = True
        found, expected = (
            SamClip.load("onnx", model=model, **options).classify(DOG, ["dog", "cat"])
            for model in ("org/tiny", TINY_BUNDLE)
        )
        assert np.array_equal(found.probs, expected.probs)

    @pytest.mark.slow
    def test_auto_brings_goldens_to_choose_and_remembers(self, tiny: HubServer) -> None:
        """Among onnxruntime and OpenVINO, which read the same files."""
        SamClip.load("org/tiny", precision="fp32", threads=1)
        goldens = {"bundle/golden/index.json", "bundle/golden/tensors.safetensors"}
        assert goldens < set(tiny.paths())
        assert not {each for each in tiny.paths() if ".int8.onnx" in each or "held_out" in each}
        tiny.faults.down = True
        asked = len(tiny.log)
        SamClip.load("org/tiny", precision="fp32", threads=1)
        assert len(tiny.log) == asked + 1

    @pytest.mark.slow
    def test_verify_brings_what_it_compares(self, tiny: HubServer) -> None:
        kind = ("--runtime", "onnx", "--precision", "fp32", "--threads", "1")
        result = CliRunner().invoke(app, ["verify", "--model", "org/tiny", *kind])
        assert result.exit_code == 0, result.output
        asked = set(tiny.paths())
        assert "bundle/golden/held_out/cat.jpg" in asked
        assert "bundle/onnx/text_to_mask_256.onnx" in asked
        assert not {each for each in asked if ".fp16.onnx" in each or ".int8.onnx" in each}
