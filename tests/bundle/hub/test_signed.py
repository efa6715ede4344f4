"""Signed bundles of a hub: the signature comes with the manifest, and stays beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from samclip_sdk import SamClip
from samclip_sdk.errors import BundleSignatureError
from tests.bundle.hub.sample import in_repository, paths_of, sample_bundle
from tests.bundle.hub.server import HubServer
from tests.refusals import refused

NAME, SIGNATURE = "org/signed", "bundle/manifest.sig"


def write_public(key: Ed25519PrivateKey, path: Path) -> Path:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(public)
    return path


@pytest.fixture
def key(hub: HubServer, tmp_path: Path) -> Path:
    """The public key of org/signed, which is signed; org/sample is not."""
    private = Ed25519PrivateKey.generate()
    files = sample_bundle()
    signature = {"manifest.sig": private.sign(files["manifest.json"])}
    hub.commit(NAME, in_repository({**files, **signature}))
    hub.commit("org/sample", in_repository(files))
    return write_public(private, tmp_path / "public.pem")


def load(name: str, key: Path | None, **options: bool) -> SamClip:
    return SamClip.load("onnx", model=name, public_key=key, **options)


def test_what_the_key_signed_is_loaded(hub: HubServer, key: Path) -> None:
    load(NAME, key).close()
    first, second, *others = hub.paths()
    assert (first, second) == ("bundle/manifest.json", SIGNATURE)
    assert set(others) == paths_of("fp32")


def test_the_signature_is_kept(hub: HubServer, key: Path) -> None:
    load(NAME, key).close()
    hub.log.clear()
    load(NAME, key, local_files_only=True).close()
    assert hub.log == []


def test_without_a_key_no_signature_is_asked_for(hub: HubServer, key: Path) -> None:
    load(NAME, None).close()
    assert SIGNATURE not in hub.paths()
    load(NAME, key).close()
    assert hub.paths().count(SIGNATURE) == 1


def test_what_is_not_signed_is_refused_before_more_comes(hub: HubServer, key: Path) -> None:
    refused(lambda: load("org/sample", key), BundleSignatureError, "not signed")
    assert {each.path for each in hub.log} == {"bundle/manifest.json", SIGNATURE}


def test_another_key_is_refused(hub: HubServer, key: Path, tmp_path: Path) -> None:
    other = write_public(Ed25519PrivateKey.generate(), tmp_path / "other.pem")
    for _ in range(2):
        refused(lambda: load(NAME, other), BundleSignatureError, "another key")
    load(NAME, key).close()
    refused(lambda: load(NAME, other), BundleSignatureError, "another key")
