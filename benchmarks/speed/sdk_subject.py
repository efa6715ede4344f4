"""The SDK itself as a subject: a bundle or checkpoint on a runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from benchmarks.speed.subject import IMAGE_PX, Opened, Workload, noise_image
from samclip_sdk import ImageEmbedding
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.device.bench import OpenedModel, open_model
from samclip_sdk.device.bench_workloads import Workloads, steps_ms
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import PromptQuery
from samclip_sdk.engine.segment import segment
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.table import RUNTIMES

PROMPTS = (1, 8, 16, 50, 150)
"""How many boxes are asked for at once, where boxes are what is measured."""

_ALWAYS = ("samclip-sdk", "numpy", "pillow")


@dataclass(frozen=True)
class SdkSubject:
    """The SDK on a model. See `samclip_sdk.device.bench_workloads` for what it does.

    Attributes:
        model: a bundle's folder, .zip or name, or a checkpoint folder.
        runtime: as for `SamClip.load`.
        precision: of the artifacts; the bundle's preferred ones if None.
        threads: that the runtime may use; 0 leaves it to the runtime.
        labels: how many text-to-mask is asked for, from 3 to 150; 3 are present.
        skill: "boxes" measures `PROMPTS` box prompts on an encoded image instead, one mask each;
            "encoder" the image encoder alone, at each of `resolutions`, such as "448+1024".
        resolutions: of the skill "encoder", in pixels; the bundle must have graphs for them.
        unverified: measure artifacts for which `samclip verify` has not passed on this device.
    """

    model: str = DEFAULT_MODEL
    runtime: str = "onnx"
    precision: str | None = None
    threads: int = 0
    labels: int = 3
    skill: str = ""
    resolutions: str | int = ""
    unverified: bool = False

    @property
    def key(self) -> str:
        """The model's, runtime's and precision's names, then what is not as usual."""
        parts = [Path(self.model).stem, self.runtime, self.precision]
        parts += [f"t{self.threads}"] if self.threads else []
        parts += [f"k{self.labels}"] if self.labels != type(self).labels else []
        return "-".join(part for part in (*parts, self.skill) if part)

    def open(self) -> Opened:
        """Loads the model; its graphs are opened by the first runs."""
        opened = open_model(
            self.model,
            runtime=self.runtime,
            precision=self.precision,
            options=RuntimeOptions(threads=self.threads),
            unverified=self.unverified,
        )
        manifest, source = opened.engine.manifest, opened.engine.source
        return Opened(
            name=f"{manifest.name} on {source.runtime}",
            packages=(*_ALWAYS, *RUNTIMES[source.runtime].packages),
            precision=source.precision,
            notes="; ".join(self._notes(opened)),
            artifact_bytes=opened.artifact_bytes,
            workloads=self._workloads(opened),
        )

    def _notes(self, opened: OpenedModel) -> list[str]:
        manifest = opened.engine.manifest
        width, height = IMAGE_PX
        whole = [
            f"{width}x{height} px image seen at {manifest.tasks.segmentation.resolution} px",
            f"{self.labels} labels of text-to-mask, 3 made present by the threshold of presence",
            "1,000 classes; texts cached",
            "one point, one mask; masks made to fill the image by their threshold",
        ]
        notes = [] if self.skill == "encoder" else whole
        notes += [f"threads: {self.threads or 'as the runtime chooses'}"]
        notes += ["random weights"] if manifest.random_weights else []
        return notes + ([] if opened.verified else ["NOT VERIFIED on this device"])

    def _workloads(self, opened: OpenedModel) -> dict[str, Workload]:
        engine, image = opened.engine, noise_image()
        if self.skill == "encoder":
            session = lru_cache(maxsize=1)(engine.source.session)  # one graph at a time
            graphs = [f"image_encoder@{size}" for size in str(self.resolutions).split("+")]
            return {graph: partial(_encode, session, graph) for graph in graphs}
        if self.skill == "boxes":
            embedding = Pass(engine, image).embedding
            return {f"boxes@{n}": partial(_segment_boxes, engine, embedding, n) for n in PROMPTS}
        more = {"label_count": self.labels, "text_encoder": opened.has_text_encoder}
        tasks = Workloads(engine, image=image, **more)
        to_masks, steps = partial(_image_to_masks, tasks), partial(steps_ms, tasks)
        return {**tasks.by_name(), "three_ways": steps, "image_to_masks": to_masks}


def _segment_boxes(engine: Engine, image: ImageEmbedding, count: int) -> object:
    boxes = [[index, index, index + 300, index + 200] for index in range(count)]
    return segment(Pass(engine, image), PromptQuery(boxes=boxes, multimask_output=False))


def _image_to_masks(tasks: Workloads) -> object:
    tasks.encode()
    return tasks.text3()


def _encode(session: Callable[[str], Session], graph: str) -> object:
    side = int(graph.partition("@")[2])
    return session(graph).run({"image": np.zeros((1, 3, side, side), np.uint8)})
