"""API keys, and the check of the key that a request brings."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from samclip_sdk.errors import OptionError, one_line

KEYS_VARIABLE = "SAMCLIP_API_KEYS"
MIN_LETTERS = 16


class Keys:
    """The valid API keys; a request must bring one of them.

    Args:
        given: the keys with commas between them, as in the environment's SAMCLIP_API_KEYS; None if
            that is not set, and then every request is allowed.

    Raises:
        OptionError: there is no key, or a key is shorter than 16 letters or cannot stand in a
            header. The message does not show the key.

    Attributes:
        asked: whether a request must bring a key.
    """

    def __init__(self, given: str | None) -> None:
        self.asked = given is not None
        keys = [each.strip() for each in (given or "").split(",") if each.strip()]
        if self.asked and not keys:
            raise OptionError(
                f"{KEYS_VARIABLE} is set to {one_line(given, limit=40)!r} and holds no key: make "
                "one with `openssl rand -hex 32`, or unset it to let everyone in"
            )
        for index, key in enumerate(keys):
            if len(key) < MIN_LETTERS or not (key.isascii() and key.isprintable()):
                raise OptionError(
                    f"key {index} of {KEYS_VARIABLE} is shorter than {MIN_LETTERS} letters, or "
                    "has others than ASCII's: make one with `openssl rand -hex 32`"
                )
        self._digests = [_digest(key) for key in keys]

    def admit(self, headers: Mapping[str, str]) -> bool:
        """Whether a request is allowed by `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        The comparison takes the same time for every wrong key.
        """
        if not self.asked:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        brought = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(brought)
        return sum([hmac.compare_digest(digest, each) for each in self._digests]) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
