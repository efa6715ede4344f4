"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from samclip_sdk.errors import OptionError

LEAST_LETTERS = 16


class Keys:
    """The keys of which a request must bring one; without any, every request may enter.

    Args:
        given: separated by commas, as in the environment's SAMCLIP_API_KEYS.

    Raises:
        OptionError: one is shorter than 16 letters or cannot stand in a header; it is not shown.
    """

    def __init__(self, given: str) -> None:
        keys = [each.strip() for each in given.split(",") if each.strip()]
        for place, key in enumerate(keys):
            if len(key) < LEAST_LETTERS or not (key.isascii() and key.isprintable()):
                raise OptionError(
                    f"key {place} of SAMCLIP_API_KEYS is shorter than {LEAST_LETTERS} letters, or "
                    "has others than ASCII's: make one with `openssl rand -hex 32`"
                )
        self._digests = [_digest(key) for key in keys]

    def admit(self, headers: Mapping[str, str]) -> bool:
        """Whether a request may enter: by `Authorization: Bearer KEY`, or by `X-API-Key: KEY`.

        It takes the same time for any key that is wrong.
        """
        if not self._digests:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        brought = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(brought)
        return sum([hmac.compare_digest(digest, each) for each in self._digests]) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
