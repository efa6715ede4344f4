"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from samclip_sdk.errors import OptionError, one_line

KEYS_VARIABLE = "SAMCLIP_API_KEYS"
LEAST_LETTERS = 16


class Keys:
    """The keys of which a request must bring one.

    Args:
        given: separated by commas, as in the environment's SAMCLIP_API_KEYS; None if it is not
            set: every request may enter then.

    Raises:
        OptionError: there is none, or one is shorter than 16 letters or cannot stand in a header;
            it is not shown.

    Attributes:
        asked: whether a request must bring one.
    """

    def __init__(self, given: str | None) -> None:
        self.asked = given is not None
        keys = [each.strip() for each in (given or "").split(",") if each.strip()]
        if self.asked and not keys:
            raise OptionError(
                f"{KEYS_VARIABLE} is set to {one_line(given, limit=40)!r} and holds no key: make "
                "one with `openssl rand -hex 32`, or unset it to let everyone in"
            )
        for place, key in enumerate(keys):
            if len(key) < LEAST_LETTERS or not (key.isascii() and key.isprintable()):
                raise OptionError(
                    f"key {place} of {KEYS_VARIABLE} is shorter than {LEAST_LETTERS} letters, or "
                    "has others than ASCII's: make one with `openssl rand -hex 32`"
                )
        self._digests = [_digest(key) for key in keys]

    def admit(self, headers: Mapping[str, str]) -> bool:
        """Whether a request may enter: by `Authorization: Bearer KEY`, or by `X-API-Key: KEY`.

        It takes the same time for any key that is wrong.
        """
        if not self.asked:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        brought = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(brought)
        return sum([hmac.compare_digest(digest, each) for each in self._digests]) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
