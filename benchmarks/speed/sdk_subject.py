"""The SDK itself as subjects: a bundle or checkpoint on a runtime, and its image encoder alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.subject import Opened, Workload, noise_picture

if TYPE_CHECKING:
    from samclip_sdk import SamClip
    from samclip_sdk.bench.bench import OpenedModel
    from samclip_sdk.session import Session

PROMPTS = (1, 8, 16, 50, 150)
"""How many boxes are asked for at once, where boxes are what is measured."""

_PACKAGES = {
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "tensorrt": ("tensorrt", "tensorrt-rtx-cu13", "cuda-python"),
    "torch": ("torch",),
}
_ALWAYS = ("samclip-sdk", "numpy", "pillow")


@dataclass(frozen=True)
class SdkSubject:
    """The SDK on a model. See `samclip_sdk.bench.timed_tasks` for what it does.

    Attributes:
        model: a bundle's folder, .zip or name, or a checkpoint folder.
        runtime: as for `SamClip.load`.
        precision: of the artifacts; the bundle's preferred ones if None.
        threads: that the runtime may use; 0 leaves it to the runtime.
        labels: how many text-to-mask is asked for, from 3 to 150; 3 are present.
        picture: its width and height in pixels, "1024x683".
        resolution: pixels; the segmentation resolution if None. At the classification resolution
            the only workload is classify, from the raw picture.
        skill: "boxes" measures `PROMPTS` box prompts on an encoded picture instead, one mask each;
            "label" text-to-mask of one label that is present, from a picture in memory.
        unverified: measure artifacts for which `samclip verify` has not passed on this device.

    Raises:
        ValueError: a picture that is not WIDTHxHEIGHT, or an unknown skill.
    """

    model: str = "samclip-tiny"
    runtime: str = "onnx"
    precision: str | None = None
    threads: int = 0
    labels: int = 3
    picture: str = "1024x683"
    resolution: int | None = None
    skill: str = ""
    unverified: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", self.picture):
            raise ValueError(f"picture is {self.picture!r}; it must be WIDTHxHEIGHT in pixels")
        if self.skill not in ("", "boxes", "label"):
            raise ValueError(f"skill is {self.skill!r}; it must be boxes or label, or left out")

    @property
    def key(self) -> str:
        """The model's, runtime's and precision's names, then what is not as usual."""
        parts = _key_parts(self.model, self.runtime, self.precision, self.threads)
        parts += [f"k{self.labels}"] if self.labels != type(self).labels else []
        parts += [self.picture] if self.picture != type(self).picture else []
        parts += [f"{self.resolution}px"] if self.resolution else []
        parts += [self.skill] if self.skill else []
        return "-".join(parts)

    def open(self) -> Opened:
        """Loads the model; its graphs are opened by the first runs.

        Raises:
            SamClipError: it cannot be opened, or is not verified on this device.
            ValueError: a resolution that no task has, or a number of labels that cannot be.
        """
        from samclip_sdk.bench.timed_tasks import Workloads, steps_ms

        opened = _open(self.model, self.runtime, self.precision, self.threads, self.unverified)
        if self.skill:
            skills = _boxes if self.skill == "boxes" else _label
            return _describe(opened, self._notes(opened), workloads=skills(opened.samclip))
        workloads = Workloads(
            opened.samclip,
            picture=noise_picture(*map(int, self.picture.split("x"))),
            label_count=self.labels,
            text_encoder=opened.has_text_encoder,
        )
        tasks = opened.samclip.manifest.tasks
        if self.resolution in (None, tasks.segmentation.resolution):
            steps = partial(steps_ms, workloads)
            found = dict(workloads.by_name())
            return _describe(opened, self._notes(opened), workloads=found, steps=steps)
        if self.resolution != tasks.classification.resolution:
            raise ValueError(
                f"resolution is {self.resolution}; {opened.samclip.manifest.name} segments at "
                f"{tasks.segmentation.resolution} and classifies at "
                f"{tasks.classification.resolution}"
            )
        only = {"classify": workloads.classify_picture}
        return _describe(opened, self._notes(opened), workloads=only)

    def _notes(self, opened: OpenedModel) -> list[str]:
        at = self.resolution or opened.samclip.manifest.tasks.segmentation.resolution
        return [
            f"{self.picture} px picture seen at {at} px",
            f"{self.labels} labels of text-to-mask, 3 made present by the threshold of presence",
            "1,000 classes; texts cached",
            "one point, one mask; masks made to fill the picture by their threshold",
            f"threads: {self.threads or 'as the runtime chooses'}",
        ]


@dataclass(frozen=True)
class EncoderSubject:
    """The image encoder by itself, at several resolutions; one of them is open at a time.

    Attributes:
        resolutions: in pixels, "448+1024"; the bundle must have graphs for them.
        model: as for `SdkSubject`, like all others.
    """

    resolutions: str
    model: str = "samclip-tiny"
    runtime: str = "onnx"
    precision: str | None = None
    threads: int = 0
    unverified: bool = False

    @property
    def key(self) -> str:
        """As `SdkSubject` has it, with "encoder" behind it."""
        return "-".join(
            [*_key_parts(self.model, self.runtime, self.precision, self.threads), "encoder"]
        )

    def open(self) -> Opened:
        """Loads the model; each graph is opened by its first run, which closes the one before.

        Raises:
            SamClipError: it cannot be opened, or is not verified on this device.
        """
        import numpy as np

        from samclip_sdk.bundle.contract import graph_key

        opened = _open(self.model, self.runtime, self.precision, self.threads, self.unverified)
        sessions: dict[int, Session] = {}

        def encode(resolution: int) -> object:
            if resolution not in sessions:
                for other in list(sessions):
                    sessions.pop(other).close()
                key = graph_key("image_encoder", resolution)
                sessions[resolution] = opened.samclip.source.session(key)
            image = np.zeros((1, 3, resolution, resolution), dtype=np.uint8)
            return sessions[resolution].run({"image": image})

        sizes = [int(each) for each in str(self.resolutions).split("+")]
        workloads = {f"image_encoder@{size}": partial(encode, size) for size in sizes}
        threads = self.threads or "as the runtime chooses"
        return _describe(opened, [f"threads: {threads}"], workloads=workloads)


def _key_parts(model: str, runtime: str, precision: str | None, threads: int) -> list[str]:
    parts = [Path(model).stem, runtime, precision or "", f"t{threads}" if threads else ""]
    return [part for part in parts if part]


def _open(
    model: str, runtime: str, precision: str | None, threads: int, unverified: bool
) -> OpenedModel:
    from samclip_sdk.bench.bench import open_model
    from samclip_sdk.runtimes.options import RuntimeOptions

    options = RuntimeOptions(threads=threads)
    return open_model(
        model, runtime=runtime, precision=precision, options=options, unverified=unverified
    )


def _describe(
    opened: OpenedModel,
    notes: list[str],
    *,
    workloads: dict[str, Workload],
    steps: partial[dict[str, float]] | None = None,
) -> Opened:
    from samclip_sdk.runtimes.versions import installed_versions

    manifest, source, found = opened.samclip.manifest, opened.samclip.source, installed_versions()
    notes += ["random weights"] if manifest.random_weights else []
    notes += [] if opened.verified else ["NOT VERIFIED on this device"]
    return Opened(
        name=f"{manifest.name} on {source.runtime}",
        package_versions={
            name: found[name] for name in (*_ALWAYS, *_PACKAGES[source.runtime]) if name in found
        },
        precision=source.precision,
        notes="; ".join(notes),
        artifact_bytes=opened.artifact_bytes,
        workloads=workloads,
        steps=steps,
    )


def _boxes(samclip: SamClip) -> dict[str, Workload]:
    image = samclip.encode_image(noise_picture(1024, 683))

    def ask(count: int) -> object:
        boxes = [[index, index, index + 300, index + 200] for index in range(count)]
        return samclip.segment(image, boxes=boxes, multimask_output=False)

    return {f"boxes@{count}": partial(ask, count) for count in PROMPTS}


def _label(samclip: SamClip) -> dict[str, Workload]:
    picture = noise_picture(1024, 683)
    return {"label": lambda: samclip.segment_text(picture, ["dog"], threshold=0.0)}
