"""This checkout beside an earlier commit of it, step by step: `python -m benchmarks since`.

Each runs its own model, in this environment: so a ratio is of code and model together, and of no
package's version.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.encoders import count_by_module
from benchmarks.pages import ROOT
from benchmarks.speed.machine import describe_device, describe_state, fp32_gflops
from benchmarks.speed.measure import HowLong, measure_subjects
from benchmarks.speed.published import measure_startup
from benchmarks.suite import Measuring, Rounds
from samclip_sdk import SamClip

NOW = "now"


def since(
    measured: Measuring,
    commit: Annotated[str, typer.Argument(help="any name that git knows a commit by")],
    vit_b: Annotated[
        bool, typer.Option("--vit-b", help="a ViT-B at 1024 px, as each commit exports it")
    ] = False,
    rounds: Rounds = 5,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 2.0,
) -> None:
    """Times text-to-mask by steps, and the first answer, beside the SDK of an earlier commit.

    The machine should be idle. Counting needs torch; so does the export of a ViT-B.
    """
    settings = measured.settings
    settings |= {"subjects": {}, "device": describe_device(), "before": describe_state()}
    with TemporaryDirectory() as home:
        earlier = unpack(commit, Path(home))
        settings["commit"] = earlier.name
        models = dict.fromkeys((earlier.name, NOW), "")
        if vit_b:
            models = {name: f"{home}/model-{name}" for name in models}
            for name, model in models.items():
                measured.say(f"exporting ViT-B as {name}")
                export = (sys.executable, "-m", "export", "random:vit_b", model)
                _run(*export, at=ROOT if name == NOW else earlier)
        spec = "benchmarks.speed.api_subject:ApiSubject"
        sdks = {earlier.name: f"sdk={earlier},", NOW: ""}
        specs = [f"{spec},{sdk}model={models[name]}" for name, sdk in sdks.items()]
        if not vit_b:
            specs += [f"{each},auto=true" for each in specs]
            measured.say("starting up")
            measure_startup(measured, {earlier.name: earlier, NOW: ROOT})
        for subject in measure_subjects(measured, specs, how=HowLong(rounds, seconds)):
            subject.add_to(measured)
        measured.say("the machine and the graphs")
        measured.add("machine", gflops=fp32_gflops())
        for part, flop in _flop(models[NOW]).items():
            measured.add(NOW, f"step {part}", flop=flop)
    settings |= {"after": describe_state()}


def which_since(options: Mapping[str, Any]) -> str:
    """The suite of options."""
    return "since_vit_b" if options["vit_b"] else "since"


def unpack(commit: str, home: Path) -> Path:
    """The packages of a commit, in a folder of its short name.

    Raises:
        ValueError: git knows no such commit.
    """
    found = _run(
        "git", "rev-parse", "--short=8", "--verify", "--end-of-options", f"{commit}^{{commit}}"
    )
    archive, folder = home / "archive.tar", home / found.strip()
    _run("git", "archive", "--output", str(archive), folder.name, "samclip_sdk", "export")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def _run(*command: str, at: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command[:3])}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _flop(model: str) -> dict[str, int]:
    with SamClip.load("onnx", model=model or None) as opened:
        manifest = opened.manifest
    counted = count_by_module(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    return {graph.partition("@")[0]: flop[""] for graph, flop in counted.items()}
