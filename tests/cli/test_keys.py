"""Every command that opens a model keeps to the key that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from samclip_sdk.cli.app import app
from tests.bundle.test_signature import write_keys
from tests.command import fails, run
from tests.drawings import TINY_BUNDLE

IMAGES = Path(__file__).parents[2] / "examples" / "images"
CAT, DOG = IMAGES / "cat.jpg", IMAGES / "dog.jpg"
OPENS_A_MODEL = {
    "classify": (DOG, "dog"),
    "text": (DOG, "dog"),
    "instances": (DOG, "dog"),
    "segment": (DOG, "--point", "9,9"),
    "everything": (DOG,),
    "embed": (DOG,),
    "learn": ("tabby", "--positive", f"{CAT}:150,200", "-o", "own.safetensors"),
    "annotate": (IMAGES, "-o", "own.json", "dog"),
    "video": (IMAGES, "dog"),
    "info": (),
    "words": (),
    "verify": (),
    "bench": ("--seconds", "0"),
    "tune": (),
    "compile": (),
}
"""Each, and the least that it is given beside the model."""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A public key whose private one has signed nothing."""
    _, public = write_keys(tmp_path, "other")
    return public


@pytest.mark.parametrize("command", OPENS_A_MODEL)
def test_a_model_that_is_not_signed_with_it_is_not_opened(
    command: str, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(key.parent)
    before = set(key.parent.iterdir())
    asked = (command, *OPENS_A_MODEL[command], "--model", TINY_BUNDLE, "--key", key)
    assert "is not signed" in fails(*asked)
    assert set(key.parent.iterdir()) == before


def test_a_server_does_not_start(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samclip_sdk.serve.server.log_as_json", lambda level: None)
    served = run("serve", TINY_BUNDLE, "--key", key)
    assert served.exit_code == 1
    assert "is not signed" in served.stderr.splitlines()[-1]


def test_no_command_is_forgotten() -> None:
    others = set(typer.main.get_group(app).commands) - set(OPENS_A_MODEL)
    assert others == {"serve", "sign", "push"}
