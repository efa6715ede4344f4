"""Questions that make sense, of every verb, and the ways in which they are sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.http.site import SIZES, Site, post
from tests.fuzz.values import WORDS

VERBS = ("images", "classify", "segment", "text", "instances", "everything")
FORMS = ("rle", "polygon", "png")
BOUNDARY = b"----a-boundary-that-is-in-no-picture"


@dataclass(frozen=True)
class Question:
    """What is asked of which pictures.

    Attributes:
        verb: the last part of its route.
        asked: all but the pictures.
        places: of the pictures among those that the server keeps.
    """

    verb: str
    asked: dict[str, Any]
    places: Sequence[int]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each picture."""
        return [SIZES[place] for place in self.places]


def draw_question(rng: Random, *, verb: str = "") -> Question:
    """A question that is to be answered, of a verb or of any."""
    verb = verb or rng.choice(VERBS)
    places = [rng.randrange(len(SIZES)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    asked: dict[str, Any] = {}
    if verb in ("classify", "text", "instances", "everything"):
        asked["labels"] = rng.sample(WORDS, rng.randrange(1, 4))
    if verb == "segment":
        asked |= _prompts(rng, sizes=[SIZES[place] for place in places])
    if verb in ("text", "instances"):
        asked |= _some(rng, threshold=rng.choice((0, 0.0, 0.5, 1)), mask_threshold=-1.5)
        asked |= _some(rng, points_per_class=rng.choice((1, 15)))
    if verb == "text":
        asked |= _some(rng, refine=rng.random() < 0.5)
    if verb == "instances":
        asked |= _some(rng, max_instances=rng.choice((1, 7)))
    if verb == "everything":
        asked["points_per_side"] = rng.randrange(1, 4)
        asked |= _some(rng, pred_iou_thresh=0.0, stability_score_thresh=0, box_nms_thresh=1)
    if verb in ("text", "instances", "everything"):
        asked |= _some(rng, stream=rng.random() < 0.5)
        if rng.random() < 0.1:
            places = [len(SIZES) - 1]  # the others are too small
            asked |= {"tiles": rng.choice(([1, 2], [2, 1])), "tile_overlap": 0.2}
    if verb not in ("images", "classify"):
        asked |= _some(rng, format=rng.choice(FORMS))
    return Question(verb, asked, places)


def _some(rng: Random, **options: Any) -> dict[str, Any]:
    """Some of the options."""
    return {name: value for name, value in options.items() if rng.random() < 0.5}


def _prompts(rng: Random, *, sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Points and boxes that lie in all of the pictures."""
    height, width = (min(sides) for sides in zip(*sizes, strict=True))
    count = rng.randrange(1, 4)
    points = [[[rng.uniform(0, width - 1), rng.uniform(0, height - 1)]] for _ in range(count)]
    boxes = [[0, 0, width / rng.choice((1, 2)), height / rng.choice((1, 2))] for _ in range(count)]
    kind = rng.randrange(4)
    asked: dict[str, Any] = {}
    if kind < 3:
        asked["points"] = points if kind else [point for (point,) in points]
    if kind == 1:
        asked["point_labels"] = [[rng.choice((0, 1))] for _ in points]
    if kind > 1:
        asked["boxes"] = boxes
    return asked | _some(rng, multimask_output=rng.random() < 0.5, mask_threshold=0.5)


def to_body(rng: Random, question: Question, site: Site) -> dict[str, Any]:
    """The whole question as JSON holds it: pictures by their ids, or in base64."""
    images = [
        rng.choice(
            (
                {"id": site.ids[place]},
                {"base64": base64.b64encode(site.pictures[place]).decode()},
            )
        )
        for place in question.places
    ]
    return {**question.asked, "images": images}


def to_request(rng: Random, question: Question, site: Site, *, close: bool = True) -> bytes:
    """A question as a request, of JSON or as a form."""
    if rng.random() < 0.6:
        return post(question.verb, json.dumps(to_body(rng, question, site)).encode(), close=close)
    files = [(b'name="image"; filename="x.png"', site.pictures[place]) for place in question.places]
    parts = [*files, (b'name="request"', json.dumps(question.asked).encode())]
    rng.shuffle(files)
    return post(question.verb, to_form(parts), kind=form_kind(), close=close)


def form_kind(boundary: bytes = BOUNDARY) -> str:
    """The content type of a form."""
    return f"multipart/form-data; boundary={boundary.decode('latin-1')}"


def to_form(parts: Sequence[tuple[bytes, bytes]], *, boundary: bytes = BOUNDARY) -> bytes:
    """Parts as a form: what stands in the Content-Disposition of each, and its content."""
    pieces = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, said, content)
        for said, content in parts
    ]
    return b"".join([*pieces, b"--%b--\r\n" % boundary])
