"""Signed bundles: what the key's owner signed opens, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from samclip_sdk import SamClip
from samclip_sdk.bundle.open import cache_folder, open_bundle
from samclip_sdk.errors import (
    BundleSchemaError,
    BundleSignatureError,
    BundleTamperedError,
    OptionError,
    RuntimeMissingError,
)
from tests.bundle.test_open import pack
from tests.command import fails, table
from tests.example_bundle import manifest, write_bundle
from tests.refusals import refused

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
OPEN = serialization.NoEncryption()


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key and its public one."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(PEM, PKCS8, OPEN))
    public.write_bytes(
        key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_bundle(tmp_path / "bundle")


def signed(folder: Path, private: Path) -> Path:
    assert table("sign", folder, "--key", private).startswith("signed ")
    return folder


def zipped(folder: Path) -> Path:
    return pack(folder, prefix="example/")


@pytest.mark.parametrize("as_zip", [False, True])
def test_what_was_signed_opens(folder: Path, keys: tuple[Path, Path], as_zip: bool) -> None:
    private, public = keys
    source = zipped(signed(folder, private)) if as_zip else signed(folder, private)
    assert len((folder / "manifest.sig").read_bytes()) == 64
    for _ in range(2):  # the second time a .zip comes from the cache
        opened = open_bundle(source, public_key=public)
        opened.verify()
        assert opened.id == open_bundle(source).id


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("change", ["unsigned", "another key", "another manifest", "long", "empty"])
def test_what_was_not_signed_is_refused_before_it_is_read(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path, change: str, as_zip: bool
) -> None:
    private, public = keys
    if change == "another key":
        private = write_keys(tmp_path, "theirs")[0]
    signed(folder, private)
    signature = folder / "manifest.sig"
    if change == "unsigned":
        signature.unlink()
    elif change == "another manifest":
        # It would be refused for itself, too, and is not looked at.
        (folder / "manifest.json").write_text("{}")
        refused(lambda: open_bundle(folder), BundleSchemaError, "")
    elif change == "long":
        signature.write_bytes(signature.read_bytes() + b"x")
    elif change == "empty":
        signature.write_bytes(b"")
    source = zipped(folder) if as_zip else folder
    word = "manifest.sig" if change == "unsigned" else "another key"
    refused(lambda: open_bundle(source, public_key=public), BundleSignatureError, word)
    assert not cache_folder().exists()


def test_a_signature_covers_every_file(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    (signed(folder, private) / "tokenizer.json").write_bytes(b"{ }")
    opened = open_bundle(folder, public_key=public)
    refused(opened.verify, BundleTamperedError, "tokenizer.json")


def test_a_cache_that_was_changed_is_not_believed(folder: Path, keys: tuple[Path, Path]) -> None:
    """Whoever can write there could make another bundle of it that is whole in itself."""
    private, public = keys
    source = zipped(signed(folder, private))
    cached = open_bundle(source, public_key=public)
    other = b"other bytes"
    (cached.root / "tokenizer.json").write_bytes(other)
    forged: dict[str, Any] = manifest()
    forged["files"] = []
    del forged["graphs"]["text_encoder"]
    (cached.root / "manifest.json").write_text(json.dumps(forged))
    again = open_bundle(source, public_key=public)
    assert again.file("tokenizer.json").read_bytes() == b"{}"


def test_neither_damage_nor_a_zip_is_signed(folder: Path, keys: tuple[Path, Path]) -> None:
    source = zipped(folder)
    (folder / "tokenizer.json").write_bytes(b"{ }")
    for path, word in ((folder, "tokenizer.json"), (source, "folder")):
        assert word in fails("sign", path, "--key", keys[0])
        assert not (folder / "manifest.sig").exists()


def test_the_command_line_takes_a_signed_zip(folder: Path, keys: tuple[Path, Path]) -> None:
    """What is unpacked of it is opened once more: it must still be signed there."""
    unsigned = zipped(folder).rename(folder.with_name("unsigned.zip"))
    open_bundle(unsigned)  # the same files, in the cache from now on
    asked = ("verify", "--key", keys[1], "--runtime", "onnx", "--precision", "none", "--model")
    said = fails(*asked, zipped(signed(folder, keys[0])))
    assert "none" in said
    assert "signed" not in said
    assert "not signed" in fails(*asked, unsigned)


@pytest.mark.parametrize("before", [None, b"x", b"x" * 64])
def test_what_is_unpacked_has_the_signature_of_its_zip(
    folder: Path, keys: tuple[Path, Path], before: bytes | None
) -> None:
    source = zipped(signed(folder, keys[0]))
    expected = (folder / "manifest.sig").read_bytes()
    opened = open_bundle(source)
    assert opened.signature() == expected
    path = opened.root / "manifest.sig"
    path.unlink()
    if before is not None:
        path.write_bytes(before)
    assert open_bundle(source).signature() == path.read_bytes() == expected
    assert open_bundle(opened.root, public_key=keys[1]).id == opened.id


def test_loading(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    refused(
        lambda: SamClip.load("onnx", model=folder, public_key=keys[1]),
        BundleSignatureError,
        "manifest.sig",
    )
    SamClip.load("onnx", model=signed(folder, keys[0]), public_key=keys[1]).close()
    refused(
        lambda: SamClip.load("torch", model=tmp_path, public_key=keys[1]), OptionError, "checkpoint"
    )


def other_keys(folder: Path) -> dict[str, Path]:
    curve = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"secret")
    files = {
        "curve.pem": curve.private_bytes(PEM, PKCS8, OPEN),
        "locked.pem": Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, locked),
        "text.pem": b"no key at all",
        "empty.pem": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in (*files, "none.pem", "nul\0.pem")}


@pytest.mark.parametrize(
    "name", ["curve.pem", "locked.pem", "text.pem", "empty.pem", "none.pem", "nul\0.pem"]
)
def test_what_is_no_key(folder: Path, tmp_path: Path, name: str) -> None:
    path = other_keys(tmp_path)[name]
    word = name.replace("\0", "\\x00")
    refused(lambda: open_bundle(folder, public_key=path), OptionError, word)
    fails(
        "sign", folder, "--key", path, code=2 if "\0" in name else 1
    )  # Typer refuses a NUL itself
    assert not (folder / "manifest.sig").exists()


def test_a_bundle_lists_no_signature(tmp_path: Path, folder: Path) -> None:
    content = manifest()
    content["files"].append({"path": "manifest.sig", "sha256": "0" * 64, "size_bytes": 64})
    (folder / "manifest.json").write_text(json.dumps(content))
    refused(lambda: open_bundle(folder), BundleSchemaError, "manifest.sig")


@pytest.mark.skipif(which("openssl") is None, reason="there is no openssl here")
def test_openssl_agrees(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    signed(folder, private)
    options = ("-verify", "-pubin", "-inkey", str(public), "-rawin")
    files = ("-in", folder / "manifest.json", "-sigfile", folder / "manifest.sig")
    command = ["openssl", "pkeyutl", *options, *map(str, files)]
    subprocess.run(command, check=True, capture_output=True)


def test_without_cryptography(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    refused(
        lambda: open_bundle(folder, public_key=keys[1]),
        RuntimeMissingError,
        'pip install "samclip-sdk[signing]"',
    )
    open_bundle(folder)  # who asks for no signature needs no package
