"""The record of a run: what was measured, of which model, on what machine, by which command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 1

# The splits: new drawings of taught nouns, a style never trained on, nouns never taught.
HELDOUT = "heldout_instance"
OPENMOJI = "openmoji"
UNSEEN = "unseen_concept"

_PACKAGES = (
    "samclip-sdk",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "torch",
    "timm",
)

Share = float  # 0..1; None where there was nothing to take a share of


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Environment(_Record):
    """Where, when and how a run was made.

    `command` holds the names of absolute paths only; `threads` is OMP_NUM_THREADS, if set.
    """

    date: str
    command: str
    commit: str | None
    system: str
    cpu: str
    cores: int
    threads: int | None
    versions: dict[str, str]


class Subject(_Record):
    """The model measured. `revision` names its weights, whatever bundle carries them."""

    name: str
    revision: str
    runtime: str
    random_weights: bool


class Settings(_Record):
    """What was asked of a quality run; with the corpus and the seed it fixes every picture.

    `nouns` is the number of nouns that the model was taught, `pictures` and `scenes` how many
    composed single-object pictures and scenes each split gives, `size_px` the side of all of them.
    """

    nouns: int = Field(gt=1)
    pictures: int = Field(gt=0)
    scenes: int = Field(gt=0)
    size_px: int = Field(default=256, gt=0)
    seed: int = Field(default=0, ge=0)


class TopK(_Record):
    """Classification. `labels` is how many were told apart, `who` the model, a teacher, the floor.

    The floor is no model: HOG and colour, nearest neighbour.
    """

    who: Literal["model", "clip_teacher", "floor"]
    split: str
    picture: Literal["clean", "composed"]
    labels: int
    pictures: int
    top1: Share
    top5: Share


class PromptIou(_Record):
    """Mean IoU over objects, of one box and of one point each.

    `box` and `point` are of the single mask (decoder token 0), `box_best` and `point_best` of the
    one of three masks whose IoU the model predicts to be highest.
    """

    who: Literal["model", "sam_teacher"]
    split: str
    objects: int
    box: Share
    box_best: Share
    point: Share
    point_best: Share


class TextToMask(_Record):
    """Text-to-mask, over `present` labels in the scenes and `absent` ones asked beside them.

    `miou` counts an absent label that got a mask as one more IoU of 0. `recall` is the share of
    the present labels that got a mask, `iou_found` the mean IoU of those, and the false-positive
    rate the share of absent labels that got one: of all, and of the nearest to a present label.
    Beside the heads of one model, `two_models` are SAM for the masks and CLIP for their names,
    among the labels alone or among these and names for nothing.
    """

    heads: Literal["clip_head", "both_heads", "two_models", "two_models_or_nothing"]
    split: str
    scenes: int
    present: int
    absent: int
    miou: Share
    recall: Share
    iou_found: Share | None
    false_positive_rate: Share | None
    nearest_false_positive_rate: Share | None


class Quality(_Record):
    """The whole of quality.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    subject: Subject
    environment: Environment
    settings: Settings
    seconds: float
    top_k: tuple[TopK, ...]
    prompts: tuple[PromptIou, ...]
    text_to_mask: tuple[TextToMask, ...]


def describe_environment(arguments: Sequence[str]) -> Environment:
    """Describes this machine and this moment.

    Args:
        arguments: of the command line, without the program.
    """
    names = [Path(each).name if os.path.isabs(each) else each for each in arguments]
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Environment(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "benchmarks", *names]),
        commit=_commit(),
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=int(threads) if threads.isdigit() else None,
        versions={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of this checkout, marked if files differ from it; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
