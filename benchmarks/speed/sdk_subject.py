"""The SDK itself, as a subject: a bundle or checkpoint on a runtime."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.subject import Opened, Workload

if TYPE_CHECKING:
    from samclip_sdk.bench.bench import OpenedModel
    from samclip_sdk.bench.timed_tasks import Workloads

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
        unverified: measure artifacts for which `samclip verify` has not passed on this device.

    Raises:
        ValueError: a picture that is not WIDTHxHEIGHT.
    """

    model: str = "samclip-tiny"
    runtime: str = "onnx"
    precision: str | None = None
    threads: int = 0
    labels: int = 3
    picture: str = "1024x683"
    resolution: int | None = None
    unverified: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", self.picture):
            raise ValueError(f"picture is {self.picture!r}; it must be WIDTHxHEIGHT in pixels")

    @property
    def key(self) -> str:
        """The model's, runtime's and precision's names, then what is not as usual."""
        parts = [Path(self.model).stem, self.runtime]
        parts += [self.precision] if self.precision else []
        parts += [f"t{self.threads}"] if self.threads else []
        parts += [f"k{self.labels}"] if self.labels != type(self).labels else []
        parts += [self.picture] if self.picture != type(self).picture else []
        parts += [f"{self.resolution}px"] if self.resolution else []
        return "-".join(parts)

    def open(self) -> Opened:
        """Loads the model; its graphs are opened by the first runs.

        Raises:
            SamClipError: it cannot be opened, or is not verified on this device.
            ValueError: a resolution that no task has, or a number of labels that cannot be.
        """
        from benchmarks.speed.picture import noise_picture
        from samclip_sdk.bench.bench import open_model
        from samclip_sdk.bench.timed_tasks import Workloads, steps_ms
        from samclip_sdk.runtimes.options import RuntimeOptions
        from samclip_sdk.runtimes.versions import installed_versions

        opened = open_model(
            self.model,
            runtime=self.runtime,
            precision=self.precision,
            options=RuntimeOptions(threads=self.threads),
            unverified=self.unverified,
        )
        samclip = opened.samclip
        workloads = Workloads(
            samclip,
            picture=noise_picture(*map(int, self.picture.split("x"))),
            labels=self.labels,
            text_encoder=opened.has_text_encoder,
        )
        chosen = self._choose(workloads, opened=opened)
        packages = (*_ALWAYS, *_PACKAGES[samclip.source.runtime])
        found = installed_versions()
        return Opened(
            name=f"{samclip.manifest.name} on {samclip.source.runtime}",
            package_versions={name: found[name] for name in packages if name in found},
            precision=samclip.source.precision,
            notes="; ".join(self._notes(opened)),
            artifact_bytes=opened.artifact_bytes,
            workloads=chosen,
            steps=partial(steps_ms, workloads) if "three_ways" in chosen else None,
        )

    def _choose(self, workloads: Workloads, *, opened: OpenedModel) -> dict[str, Workload]:
        tasks = opened.samclip.manifest.tasks
        if self.resolution in (None, tasks.segmentation.resolution):
            return dict(workloads.by_name())
        if self.resolution == tasks.classification.resolution:
            return {"classify": workloads.classify_picture}
        raise ValueError(
            f"resolution is {self.resolution}; {opened.samclip.manifest.name} segments at "
            f"{tasks.segmentation.resolution} and classifies at {tasks.classification.resolution}"
        )

    def _notes(self, opened: OpenedModel) -> list[str]:
        manifest = opened.samclip.manifest
        at = self.resolution or manifest.tasks.segmentation.resolution
        notes = [
            f"{self.picture} px picture seen at {at} px",
            f"{self.labels} labels of text-to-mask, 3 made present by the threshold of presence",
            "1,000 classes; texts cached",
            "one point, one mask; masks made to fill the picture by their threshold",
            f"threads: {self.threads or 'as the runtime chooses'}",
        ]
        notes += ["random weights"] if manifest.random_weights else []
        notes += [] if opened.verified else ["NOT VERIFIED on this device"]
        return notes
