"""samclip in labelme's AI tools, and in osam: masks of texts, points and boxes.

    pip install 'samclip-sdk[onnx]' labelme
    python examples/integrations/labelme_osam.py photo.jpg

This starts labelme with the given arguments, and with samclip in both of its lists of models. In
"AI Text-to-Annotation" (`dog, cat`) it is selected already. In "AI-Assisted Annotation" (points,
boxes) `--config '{ai: {default: samclip}}'` selects it. With `osam` as the first word, the
other words are a command line of osam, which then has samclip too:

    python examples/integrations/labelme_osam.py osam serve

Environment variables choose the model: SAMCLIP_MODEL (bundle folder, .zip or name) and
SAMCLIP_RUNTIME.
"""

from __future__ import annotations

import os
import sys
from typing import ClassVar

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # osam imports onnxruntime.

import numpy as np
import osam
from numpy.typing import NDArray
from osam.types import Annotation, BoundingBox, GenerateRequest, GenerateResponse, Prompt

from samclip_sdk import Frame, ImageEmbedding, SamClip, SamClipError
from samclip_sdk.bundle import DEFAULT_MODEL
from samclip_sdk.results import MaskItem

BOX_CORNERS = (2, 3)
TITLE = "samclip"


class SamClipOsam(osam.types.Model):
    """A model of osam that downloads nothing: the bundle of the installed samclip-sdk."""

    name = "samclip:latest"
    metadata = osam.types.ModelMetadata(
        license_name="Apache License 2.0",
        license_url="https://www.apache.org/licenses/LICENSE-2.0",
        source_url="https://pypi.org/project/samclip-sdk",
        license_spdx="Apache-2.0",
    )
    _blobs: ClassVar[dict[str, osam.types.Blob]] = {}
    blue_first = False  # osam's images are RGB.

    def __init__(self) -> None:
        self.model = SamClip.load(
            os.environ.get("SAMCLIP_RUNTIME", "onnx"),
            model=os.environ.get("SAMCLIP_MODEL", DEFAULT_MODEL),
        )

    def encode_image(self, image: NDArray[np.uint8]) -> osam.types.ImageEmbedding:
        """Runs the image encoder once; labelme keeps the embeddings of its last images."""
        pixels = image[..., ::-1] if self.blue_first else image
        encoded = self.model.encode_image(np.ascontiguousarray(pixels))
        return osam.types.ImageEmbedding(
            original_height=encoded.frame.height_px,
            original_width=encoded.frame.width_px,
            embedding=encoded.image_embeddings[0],
            extra_features=[encoded.image_tokens[0]],
        )

    def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Finds the objects of a request's texts, or the mask of its points.

        Raises:
            ValueError: the request is incomplete, or the model refuses it; osam's server answers
                with the message.
        """
        prompt = request.prompt
        if prompt is None:
            raise ValueError("give a prompt: texts, or points with point_labels")
        embedding = request.image_embedding
        try:
            if embedding is None:
                if request.image is None:
                    raise ValueError("give an image or an image_embedding")
                embedding = self.encode_image(request.image)
            image = self._decoded(embedding)
            if prompt.points is not None:
                annotations = self._find_pointed(image, prompt)
            else:
                annotations = self._find_named(image, prompt)
        except SamClipError as error:
            raise ValueError(str(error)) from error
        return GenerateResponse(model=self.name, image_embedding=embedding, annotations=annotations)

    def _decoded(self, embedding: osam.types.ImageEmbedding) -> ImageEmbedding:
        """The embedding that is stored in osam's."""
        resolution = self.model.manifest.tasks.segmentation.resolution
        size = embedding.original_height, embedding.original_width
        return ImageEmbedding(
            image_tokens=embedding.extra_features[0][None],
            image_embeddings=embedding.embedding[None],
            frame=Frame.fit(*size, resolution=resolution),
            bundle_id=self.model.source.id,
        )

    def _find_named(self, image: ImageEmbedding, prompt: Prompt) -> list[Annotation]:
        """Finds the objects of texts, each with the given text, which labelme looks up."""
        given = {text.strip(): text for text in prompt.texts or []}
        maximum = (
            {} if prompt.max_annotations is None else {"max_instances": prompt.max_annotations}
        )
        found = self.model.segment_instances(image, list(given), **maximum)
        minimum = prompt.score_threshold or 0.0
        return [
            to_annotation(each, text=given[each.label]) for each in found if each.score >= minimum
        ]

    def _find_pointed(self, image: ImageEmbedding, prompt: Prompt) -> list[Annotation]:
        """Finds the mask of points, two of which may be the corners of a box."""
        edge = np.array([image.frame.width_px, image.frame.height_px])
        corners = np.isin(prompt.point_labels, BOX_CORNERS)
        # A click on the far edge means the last pixel; a box may extend beyond it.
        points = np.clip(prompt.points, 0, edge - 0.5)[~corners]
        labels = prompt.point_labels[~corners]
        found = self.model.segment(
            image,
            points=points if len(points) else None,
            point_labels=labels if len(points) else None,
            boxes=prompt.points[corners].ravel() if corners.any() else None,
        )
        # One point may mean a thing or a part of it, and has three masks.
        best = found.best()[0]
        return [to_annotation(best)] if best.area else []


def to_annotation(item: MaskItem, *, text: str | None = None) -> Annotation:
    """Converts a mask to osam's form: cut to its box, whose far edges are the last pixels."""
    x0, y0, x1, y1 = item.box.astype(int).tolist()
    return Annotation(
        bounding_box=BoundingBox(xmin=x0, ymin=y0, xmax=x1 - 1, ymax=y1 - 1),
        mask=item.mask[y0:y1, x0:x1],
        text=text,
        score=item.score,
    )


def register() -> None:
    """Adds the model to osam's list."""
    if SamClipOsam not in osam.apis.registered_model_types:
        osam.apis.registered_model_types.append(SamClipOsam)


def register_in_labelme() -> None:
    """Adds the model to labelme's private lists; labelme has no public function for this."""
    from labelme.utils import img_qt_to_arr
    from labelme.widgets import AiAssistedAnnotationWidget, AiTextToAnnotationWidget
    from PyQt5.QtGui import QColor, QImage

    entry = (SamClipOsam.name, TITLE)
    for widget in (AiAssistedAnnotationWidget, AiTextToAnnotationWidget):
        if entry not in widget._available_models:
            widget._available_models.append(entry)
    AiTextToAnnotationWidget._default_model_name = SamClipOsam.name
    # labelme 6.3 gives pixels in Qt's order: the first value of a pixel is blue.
    red = QImage(1, 1, QImage.Format_RGB32)
    red.fill(QColor("red"))
    SamClipOsam.blue_first = int(img_qt_to_arr(red)[0, 0, 0]) == 0


def main() -> None:
    register()
    if sys.argv[1:2] == ["osam"]:
        from osam.__main__ import cli

        cli(sys.argv[2:], prog_name="osam")
    else:
        from labelme.__main__ import main as labelme

        register_in_labelme()
        labelme()


if __name__ == "__main__":
    main()
