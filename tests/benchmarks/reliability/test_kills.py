"""The campaign of kills sees what a killed command leaves, and finds nothing where nothing is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks.reliability.kills import contents, kill_often
from benchmarks.reliability.victims import VICTIMS, Victim
from tests.benchmarks.measured import measure
from tests.refusals import refused

WRITES = """
import os, pathlib, secrets, time
hidden = pathlib.Path({hidden})
{before}
with hidden.open("ab") as file:
    file.write(b"half ")
    file.flush()
    time.sleep(0.8)  # longer than a busy machine takes to start it
    file.write(b"whole")
os.rename(hidden, "result")
"""


def run(command: Victim, folder: Path) -> list[str]:
    part = measure(kill_often, command, folder / "work", kills=4, seed=1)
    found = {name: row.value for name, row in part.metrics(f"kills: {command.name}").items()}
    faults: list[str] = part.run.settings["faults"]
    assert found["early"] < found["kills"] == 4
    assert (found["restarts"], found["whole"]) == (1, 1 - len(faults))
    return faults


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "before", "expected"),
    [
        ("f'.{secrets.token_hex(4)}'", "", ["after 4 kills: left over: ."]),
        # A restart that goes on in the same file, as if nothing were in it.
        ("'.hidden'", "", ["after 4 kills: other: result"]),
        ("'.hidden'", "hidden.unlink(missing_ok=True)", []),
    ],
)
def test_what_is_left_is_found(
    hidden: str, before: str, expected: list[str], tmp_path: Path
) -> None:
    """The command writes for a while under a hidden name."""
    code = WRITES.format(hidden=hidden, before=before)
    faults = run(Victim("small", arguments=lambda inputs: ["-c", code]), tmp_path)
    assert len(faults) == len(expected)
    assert all(each in fault for each, fault in zip(expected, faults, strict=True))


def test_a_command_that_is_never_the_same_is_refused(tmp_path: Path) -> None:
    random = Victim(
        "random",
        arguments=lambda inputs: ["-c", "import os; open('a', 'wb').write(os.urandom(8))"],
    )
    refused(lambda: run(random, tmp_path), ValueError, "random", "other: a")
    fails = Victim("fails", lambda inputs: ["-c", "raise SystemExit('no')"])
    refused(lambda: run(fails, tmp_path / "again"), ValueError, "fails", "exit code 1: no")


def test_of_a_trainings_state_the_tensors_are_compared(tmp_path: Path) -> None:
    def digest(pickled: bytes, tensor: bytes) -> str:
        with zipfile.ZipFile(tmp_path / "last.pt", "w") as archive:
            archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled)
            archive.writestr(zipfile.ZipInfo("archive/data/0"), tensor)
        return contents(tmp_path)["last.pt"]

    assert digest(b"one way", b"1") == digest(b"another", b"1") != digest(b"another", b"2")


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in VICTIMS if each.name != "export"])
def test_a_killed_command_ends_as_if_nothing_had_happened(command: Victim, tmp_path: Path) -> None:
    """Twice each; `python -m benchmarks reliability kills` does so more often, export too."""
    part = measure(kill_often, command, tmp_path / "work", kills=2, seed=3)
    assert part.run.settings["faults"] == []
