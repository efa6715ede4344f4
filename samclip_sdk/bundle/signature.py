"""Signed manifests: who made a bundle, not only that its files are whole.

`manifest.sig` beside the manifest is the Ed25519 signature of its bytes, 64 of them. Since the
manifest states the sha256 of every other file, it covers the whole bundle. Any tool can check it:
`openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile manifest.sig`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from samclip_sdk.errors import BundleSignatureError, OptionError, RuntimeMissingError, one_line

SIGNATURE_BYTES = 64
_MAX_KEY_BYTES = 1 << 16


class PublicKey:
    """The public key that must have signed a bundle. It is read once, before anything is done.

    Args:
        path: a PEM file with an Ed25519 public key.

    Raises:
        OptionError: there is no such file, or it holds something else.
        RuntimeMissingError: the package cryptography is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._name = one_line(os.fspath(path))
        self._is_signed = _read_public(path)

    def check(self, content: bytes, *, signature: bytes | None, source: str) -> None:
        """Refuses a manifest that this key has not signed.

        Args:
            content: the manifest's bytes.
            signature: the content of manifest.sig; None if there is no such file.
            source: the bundle's name, for messages.

        Raises:
            BundleSignatureError: it has no signature, or another's, or was changed since.
        """
        if signature is None:
            raise BundleSignatureError(
                f"{source} is not signed: it has no manifest.sig, and {self._name} was given"
            )
        if not self._is_signed(signature, content):
            raise BundleSignatureError(
                f"{source} was signed with another key than that of {self._name}, or changed since"
            )


def sign(content: bytes, *, key: str | os.PathLike[str]) -> bytes:
    """Signs a manifest.

    Args:
        content: the bytes of the manifest.
        key: path of a PEM file with an Ed25519 private key, without a password.

    Returns:
        The content of manifest.sig.

    Raises:
        OptionError: there is no such file, or it holds something else.
        RuntimeMissingError: the package cryptography is not installed.
    """
    _import_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        private = serialization.load_pem_private_key(_read_key(key), password=None)
    except OptionError:
        raise
    except Exception as error:  # TypeError: it has a password
        raise _no_key(key, kind="private", reason=error) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(key, kind="private", reason=type(private).__name__)
    return private.sign(content)


def _read_public(path: str | os.PathLike[str]) -> Callable[[bytes, bytes], bool]:
    """A function that says whether a signature fits a content."""
    _import_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = _read_key(path)
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:  # some of OpenSSL's errors are no ValueError
        raise _no_key(path, kind="public", reason=error) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, kind="public", reason=type(key).__name__)

    def is_signed(signature: bytes, content: bytes) -> bool:
        try:
            key.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return is_signed


def _read_key(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"the key {one_line(path)} cannot be read: {reason}") from error


def _no_key(path: str | os.PathLike[str], *, kind: str, reason: object) -> OptionError:
    return OptionError(
        f"{one_line(path)} is no {kind} Ed25519 key in PEM format without a password: "
        f"{one_line(reason)}"
    )


def _import_cryptography() -> None:
    try:
        import cryptography  # noqa: F401, only whether it is there
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            'signatures need cryptography: pip install "samclip-sdk[signing]"'
        ) from error
