"""The parts: what each needs, what measures it, and what its record is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.paper import lambdas, probing, resolutions, teachers, text_to_mask, wise_ft
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import (
    Figures,
    LambdasPart,
    Part,
    ProbingPart,
    ResolutionsPart,
    TeachersPart,
    TextToMaskPart,
    WiseFtPart,
)
from benchmarks.record import describe_environment


@dataclass(frozen=True)
class Measurement:
    """One part.

    Attributes:
        needs: the folders of a run that it reads.
        measure: measures it; raises SystemExit where a training of its own is interrupted.
        record: what it is stored as.
    """

    needs: tuple[str, ...]
    measure: Callable[[Inputs], Figures]
    record: type[Part]


PARTS = {
    "teachers": Measurement(teachers.NEEDS, teachers.measure_teachers, TeachersPart),
    "text_to_mask": Measurement(
        text_to_mask.NEEDS, text_to_mask.measure_text_to_mask, TextToMaskPart
    ),
    "probing": Measurement(probing.NEEDS, probing.measure_probing, ProbingPart),
    "resolutions": Measurement(resolutions.NEEDS, resolutions.measure_resolutions, ResolutionsPart),
    "wise_ft": Measurement(wise_ft.NEEDS, wise_ft.measure_wise_ft, WiseFtPart),
    "lambdas": Measurement(lambdas.NEEDS, lambdas.measure_lambdas, LambdasPart),
}


def measure_part(name: str, inputs: Inputs) -> Part:
    """Measures one part, and writes down how that was done.

    Args:
        name: a key of `PARTS`.
        inputs: of the run.
    """
    part = PARTS[name]
    weights = inputs.weights(part.needs)
    started = time.perf_counter()
    figures = part.measure(inputs)
    return part.record.model_validate(
        {
            "environment": describe_environment(sys.argv[1:]),
            "settings": inputs.settings,
            "weights": weights,
            "seconds": round(time.perf_counter() - started, 1),
            "figures": figures,
        }
    )
