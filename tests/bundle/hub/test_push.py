"""Bundles that are put onto a hub, their model cards, and that they come back as they were."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from samclip_sdk import SamClip, SamClipError
from samclip_sdk.bundle.hub.card import hub_card
from samclip_sdk.bundle.hub.push import push_bundle
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.cli.app import app
from samclip_sdk.errors import BundleTamperedError, HubError, HubUnreachableError, OptionError
from tests.bundle.hub.sample import CARD, WEIGHTS, id_of, in_repository, sample_bundle
from tests.bundle.hub.server import HubServer
from tests.bundle.hub.state import TOKEN
from tests.example_bundle import write_files
from tests.refusals import refused

FILES = sample_bundle()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "bundle", FILES)
    return tmp_path / "bundle"


def front_matter(card: str) -> dict[str, object]:
    found: dict[str, object] = ModelCard(card, ignore_metadata_errors=False).data.to_dict()
    return found


class TestPush:
    def test_what_is_pushed_is_loaded(
        self, hub: HubServer, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        told: list[tuple[str, int, int]] = []
        pushed = push_bundle(
            folder, "org/new", token=TOKEN, on_progress=lambda *each: told.append(each)
        )
        stored = hub.files("org/new")
        card = stored.pop("README.md").decode()
        del stored[".gitattributes"]
        assert stored == in_repository(FILES)
        assert card.endswith(CARD)
        assert (pushed.repository, pushed.bundle_id) == ("org/new", id_of(FILES))
        assert (pushed.commit, pushed.url) == (
            hub.repositories["org/new"].refs["main"],
            f"{hub.url}/org/new",
        )
        model = SamClip.load("onnx", model=f"org/new@{pushed.commit}")
        assert model.source.id == open_bundle(folder).id
        assert told
        assert told == sorted(told, key=lambda each: each[1])
        assert capfd.readouterr() == ("", "")

    def test_nothing_changes_if_nothing_has_changed(
        self, hub: HubServer, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        first = push_bundle(folder, "org/new", token=TOKEN)
        assert push_bundle(folder, "org/new", token=TOKEN) == first
        assert len(hub.repositories["org/new"].commits) == 2  # the first one makes it
        assert capfd.readouterr() == ("", "")

    def test_another_bundle_takes_its_place_whole(
        self, hub: HubServer, folder: Path, tmp_path: Path
    ) -> None:
        hub.commit("org/new", {"bundle/onnx/old.onnx": b"old", "notes.txt": b"kept"})
        push_bundle(folder, "org/new", token=TOKEN)
        assert set(hub.files("org/new")) == {*in_repository(FILES), "README.md", "notes.txt"}
        assert len(hub.repositories["org/new"].commits) == 2

    def test_a_branch(self, hub: HubServer, folder: Path) -> None:
        hub.commit("org/new", {"README.md": b"main"})
        for _ in range(2):
            push_bundle(folder, "org/new@dev", token=TOKEN)
        assert hub.files("org/new") == {"README.md": b"main"}
        assert set(in_repository(FILES)) < set(hub.files("org/new", "dev"))

    def test_a_private_repository(self, hub: HubServer, folder: Path) -> None:
        push_bundle(folder, "org/new", token=TOKEN, private=True)
        assert hub.repositories["org/new"].private
        refused(lambda: SamClip.load("onnx", model="org/new"), HubError, "private")

    @pytest.mark.parametrize("kind", ["folder", "zip", "hub"])
    def test_a_signature_goes_with_it(self, hub: HubServer, folder: Path, kind: str) -> None:
        model: object = folder
        (folder / "manifest.sig").write_bytes(b"s" * 64)
        if kind == "zip":
            model = shutil.make_archive(str(folder), "zip", folder)
        elif kind == "hub":
            signed = in_repository({**FILES, "manifest.sig": b"s" * 64})
            hub.commit("org/signed", signed)
            model = "org/signed"
        push_bundle(model, "org/new", token=TOKEN)
        assert hub.files("org/new")["bundle/manifest.sig"] == b"s" * 64


REFUSED: list[tuple[str, str | None, type[SamClipError], tuple[str, ...]]] = [
    ("new", TOKEN, OptionError, ("new", "org/name")),
    ("org/new", None, HubError, ("logged in", "http")),
    ("org/new", "wrong", HubError, ("the token",)),
]


class TestRefusals:
    @pytest.mark.parametrize(("name", "token", "error", "named"), REFUSED)
    def test_names_and_tokens(
        self,
        hub: HubServer,
        folder: Path,
        name: str,
        token: str | None,
        error: type[SamClipError],
        named: tuple[str, ...],
    ) -> None:
        refused(lambda: push_bundle(folder, name, token=token), error, *named)
        assert hub.repositories == {}
        assert hub.log == [] or token == "wrong"

    def test_a_file_that_was_changed(self, hub: HubServer, folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(b"changed")
        push = partial(push_bundle, folder, "org/new", token=TOKEN)
        refused(push, BundleTamperedError, WEIGHTS)
        assert hub.log == []

    def test_a_hub_that_does_not_answer(self, hub: HubServer, folder: Path) -> None:
        hub.faults.down = True
        push = partial(push_bundle, folder, "org/new", token=TOKEN)
        refused(push, HubUnreachableError, hub.url)


@pytest.mark.usefixtures("direct_session")
class TestCard:
    def test_the_front_matter(self, folder: Path) -> None:
        card = hub_card(open_bundle(folder).manifest, card=CARD, repository="org/new")
        assert front_matter(card) == {
            "library_name": "samclip",
            "pipeline_tag": "mask-generation",
            "license": "apache-2.0",
            "tags": [
                *("samclip", "segment-anything", "clip", "image-segmentation"),
                *("zero-shot-image-classification", "onnx"),
            ],
        }
        assert 'SamClip.load("onnx", model="org/new")' in card

    def test_what_it_was_made_of(self, hub: HubServer) -> None:
        """The embedded default: its tokenizer's source is a repository of the hub."""
        card = hub_card(
            open_bundle("samclip-mobile").manifest,
            card="",
            repository="org/new",
            base_models=["a/b"],
            tags=["my: tag"],
        )
        found = front_matter(card)
        assert found["base_model"] == ["sentence-transformers/all-MiniLM-L6-v2", "a/b"]
        assert "my: tag" in found["tags"]
        assert card.endswith("# samclip-mobile\n")

    def test_licences_that_differ(self, folder: Path) -> None:
        manifest = open_bundle(folder).manifest
        other = manifest.licences[0].model_copy(update={"spdx": "MIT"})
        several = manifest.model_copy(update={"licences": (*manifest.licences, other)})
        found = front_matter(hub_card(several, card=CARD, repository="org/new"))
        assert (found["license"], found["license_link"]) == ("other", "bundle/NOTICE")
        own = hub_card(several, card=CARD, repository="org/new", licence="mit")
        assert front_matter(own)["license"] == "mit"


class TestCommand:
    def test_push(self, hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        options = ("--license", "mit", "--base-model", "a/b", "--tag", "x", "--message", "First")
        result = CliRunner().invoke(app, ["push", str(folder), "org/new", *options, "--json"])
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["commit"] == hub.repositories["org/new"].refs["main"]
        made = next(each for each in hub.log if "/commit/" in each.route)
        assert json.loads(made.content.splitlines()[0])["value"]["summary"] == "First"
        card = front_matter(hub.files("org/new")["README.md"].decode())
        assert (card["license"], card["base_model"], card["tags"][-1]) == ("mit", ["a/b"], "x")
        shown = CliRunner().invoke(app, ["push", str(folder), "org/new"])
        assert f"{hub.url}/org/new holds the bundle {id_of(FILES)}, at " in shown.stdout
