"""The host names that a server answers to, and the pages of other sites that may ask it.

The names are a defence against DNS rebinding.

Another site can let its own name resolve to this machine. The browser then takes the server's
answers for that site's, and its pages can read them. The site cannot do so with `localhost` or with
an address, and the name stands in the header Host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from samclip_sdk.errors import OptionError, one_line
from samclip_sdk.serve.errors import RefusedError

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")


def check_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Returns the origins of pages that may read a server's answers, as browsers name them.

    Raises:
        OptionError: an origin is not `https://host` or `http://host:port`, and nothing more.
    """
    found = tuple(origins)
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise OptionError(
                f"the origin {one_line(origin, limit=80)!r} is not of the form https://host or "
                "http://host:port, in small letters and without a path"
            )
    return found


class Hosts:
    """The host names that requests may use: localhost, addresses, and the given names.

    Args:
        names: the other names of this server.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(name.lower() for name in names)}

    def refusal(self, headers: Mapping[str, str]) -> RefusedError | None:
        """The refusal of a request that uses another name; None if the name is allowed.

        A request without Host is allowed: only HTTP/1.0 has such, and no browser sends them.
        """
        called = headers.get("host", "")
        try:
            name = urlsplit(f"//{called}").hostname
        except ValueError:
            name = called
        if not called or (name and self._knows(name)):
            return None
        return RefusedError(
            f"this server is not called {one_line(called, limit=80)!r}: ask it by its address, or "
            "start it with --name and that name, or with API keys",
            status=421,
        )

    def _knows(self, name: str) -> bool:
        if name.removesuffix(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
