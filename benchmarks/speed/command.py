"""`python -m benchmarks speed`: subjects in turn, the default model's or a ViT-B's if none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from benchmarks.pages import PAGES, RECORDS
from benchmarks.speed.machine import describe_device, describe_state
from benchmarks.speed.measure import MAX_RUNS, HowLong, measure_subjects
from benchmarks.speed.published import DEFAULT_ONNX, SAM_CLIP_TORCH, measure_default, measure_vit_b
from benchmarks.speed.subject import check_spec
from benchmarks.suite import RUNS, Measuring, Rounds

Subjects = Annotated[
    list[str] | None,
    typer.Option(
        help="measure this one alone: samclip, a peer or module:Class, with arguments behind "
        "commas, such as samclip,model=my-bundle,precision=int8,threads=2; may be given again"
    ),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        help="measure this one too, beside the usual ones, such as "
        "samclip,model=my-litert-bundle,runtime=litert; may be given again"
    ),
]
VitB = Annotated[
    bool, typer.Option("--vit-b", help="measure a ViT-B at 1024 px, beside SAM and CLIP, instead")
]


def speed(
    measured: Measuring,
    subject: Subjects = None,
    also: Also = None,
    vit_b: VitB = False,
    rounds: Rounds = 3,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 2.0,
    min_runs: Annotated[int, typer.Option(help="runs; ten of what is below a second", min=1)] = 1,
) -> None:
    """Times the SDK and its peers on this device, in rounds, each in a process of its own.

    Without a subject it takes those of docs/benchmarks/speed.md, the default model beside YOLOE,
    CLIPSeg and MobileSAM, and with --vit-b those of docs/benchmarks/speed_vit_b.md. The machine
    should be idle.
    """
    how = HowLong(rounds, seconds, min_runs, max(min_runs, MAX_RUNS))
    settings, usual = measured.settings, None if subject else DEFAULT_ONNX
    settings |= {"subjects": {}, "device": describe_device(), "before": describe_state()}
    if subject:
        measured.shows = ["speed_subjects@speed"]
        for each in measure_subjects(measured, subject, how=how):
            each.add_to(measured)
    elif vit_b:
        usual = SAM_CLIP_TORCH
        measure_vit_b(measured, RUNS / "speed", how=how, cores=settings["device"]["usable_cores"])
    else:
        measure_default(measured, also or (), how=how)
    if not settings["subjects"]:
        raise ValueError("nothing was measured: the lines above say why")
    settings |= {"baseline": usual or next(iter(settings["subjects"]))}
    settings |= {"after": describe_state()}


def which_table(options: Mapping[str, Any]) -> str:
    """The suite of options; refuses what could not be measured, or would lose published figures."""
    specs: Sequence[str] = [*(options["subject"] or ()), *(options["also"] or ())]
    for spec in specs:
        check_spec(spec)
    if twice := sorted({spec for spec in specs if specs.count(spec) > 1}):
        raise ValueError(f"the subject {twice[0]!r} is there twice")
    if specs and options["vit_b"]:
        raise ValueError("--vit-b says what to measure: give it, or subjects")
    if options["subject"] and options["also"]:
        raise ValueError("--also is beside the usual subjects: give it, or --subject")
    if options["subject"] and options["write"]:
        raise ValueError("--write publishes a page with all its subjects: leave --subject out")
    return "speed_vit_b" if options["vit_b"] else "speed"


def which_tables(suite: str) -> list[str]:
    """The templates of a suite's page, without those of another suite."""
    every = PAGES[f"{RECORDS}/{suite}.md"].values()
    return [name for name in every if name.partition("@")[2] in ("", suite)]
