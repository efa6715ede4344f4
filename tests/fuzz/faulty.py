"""A subject for the test of campaigns: some of its cases end the process, some hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

from tests.fuzz.oracle import Case
from tests.fuzz.world import World


def subject(world: World) -> Callable[[Random], Case]:
    def draw(rng: Random) -> Case:
        return rng.choice(
            (
                Case("is fine", lambda: None),
                Case("ends", lambda: os._exit(9)),
                Case("waits", lambda: time.sleep(600)),
            )
        )

    return draw
