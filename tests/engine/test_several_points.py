"""Several points, or points and a box, give the best of three masks by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samclip_sdk import SamClip

DOG = Path(__file__).parents[2] / "examples" / "images" / "dog.jpg"
BOX = [8, 30, 250, 380]
TWO = {"points": [[100, 200], [280, 10]], "point_labels": [1, 0]}


def test_the_best_of_three_masks() -> None:
    """A box alone gives SAM's single mask, and so does a prompt with a mask."""
    with SamClip.load("onnx", threads=1) as model:
        image = model.encode_image(DOG)
        drawn = model.segment(image, boxes=BOX)
        for asked in (TWO, {**TWO, "boxes": BOX}):
            found = model.segment(image, **asked)
            best = model.segment(image, **asked, multimask_output=True).best()
            assert found.prompt_index.tolist() == [0]
            assert found.scores == best.scores
            for name in ("masks", "low_res_masks", "boxes"):
                assert np.array_equal(getattr(found, name), getattr(best, name))
            both, either = (
                join(found.masks[0], drawn.masks[0]) for join in (np.logical_and, np.logical_or)
            )
            assert both.sum() > 0.5 * either.sum()
        for asked in ({"boxes": BOX}, {**TWO, "mask_input": drawn.low_res_masks[0]}):
            single = model.segment(image, **asked, multimask_output=False)
            assert np.array_equal(model.segment(image, **asked).masks, single.masks)
