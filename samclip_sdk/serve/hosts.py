"""The names under which a server answers.

A page of another site can have its own name lead to this machine (DNS rebinding): to the browser
the server's answers are then that site's, and the page reads them. It cannot have `localhost` or an
address lead here, and the name that it uses stands in the header Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from samclip_sdk.errors import one_line
from samclip_sdk.serve.errors import RefusedError


class Hosts:
    """The names that a request may call a server by: localhost, addresses, and those given.

    Args:
        names: that belong to it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(name.lower() for name in names)}

    def refusal(self, headers: Mapping[str, str]) -> RefusedError | None:
        """Why a request may not enter by the name that it has used; None if it may.

        A request of HTTP/1.0 may name nothing: no browser sends such.
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
