from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmarks.quality.record import PromptIou, Quality, Settings, TextToMask, TopK, render
from benchmarks.record import Model, describe_environment


@pytest.fixture
def quality() -> Quality:
    def top_k(who: str, split: str, picture: str, labels: int, top1: float) -> TopK:
        return TopK(
            who=who,
            split=split,
            picture=picture,
            labels=labels,
            pictures=10,
            top1=top1,
            top5=top1 + 0.2,
        )

    def text(heads: str, miou: float) -> TextToMask:
        return TextToMask(
            heads=heads,
            split="heldout_instance",
            scenes=2,
            present=4,
            absent=10,
            miou=miou,
            recall=0.75,
            iou_found=None,
            false_positive_rate=0.1,
            nearest_false_positive_rate=0.5,
        )

    prompts = {"objects": 4, "box": 0.8512, "box_best": 0.86, "point": 0.7, "point_best": 0.72}
    return Quality(
        model=Model(
            name="tiny", revision="r1", runtime="onnx", precision="fp32", random_weights=False
        ),
        environment=describe_environment(["quality", "--openmoji", "/somewhere/openmoji.zip"]),
        settings=Settings(nouns=150, pictures=20, scenes=2, seed=3),
        seconds=1.5,
        top_k=(
            top_k("model", "heldout_instance", "clean", 150, 0.7),
            top_k("floor", "heldout_instance", "clean", 150, 0.65),
            top_k("model", "unseen_concept", "clean", 47, 0.2),
            top_k("model", "unseen_concept", "clean", 197, 0.1),
        ),
        prompts=(
            PromptIou(who="model", split="heldout_instance", **prompts),
            PromptIou(who="model", split="unseen_concept", **prompts),
        ),
        text_to_mask=(text("clip_head", 0.4), text("both_heads", 0.55)),
    )


def test_table(quality: Quality) -> None:
    rows = {
        cells[1]: cells[2:-1]
        for cells in (
            [cell.strip() for cell in line.split("|")]
            for line in render(quality).splitlines()
            if line.startswith("|")
        )
    }
    assert rows[""] == ["New drawings of taught nouns", "Nouns never taught"]
    assert rows["top-1 / top-5, cut-outs over plain grey"] == [
        "70.0% / 90.0% of 150",
        "20.0% / 40.0% of 47; 10.0% / 30.0% of 197",
    ]
    floor = "floor without learning: top-1 / top-5, cut-outs over plain grey"
    assert rows[floor] == ["65.0% / 85.0% of 150", "–"]
    assert rows["mIoU, box prompt"] == ["0.851", "0.851"]
    assert rows["text-to-mask mIoU, CLIP head alone"] == ["0.400", "–"]
    assert rows["text-to-mask mIoU, both heads"] == ["0.550", "–"]
    assert rows["text-to-mask: the same, the nearest absent label, both heads"] == ["0.500", "–"]
    # What nobody measured has no row.
    assert not [name for name in rows if "teacher" in name or "composed" in name]


def test_the_record_survives_json(quality: Quality) -> None:
    text = quality.model_dump_json(indent=1)
    assert Quality.model_validate_json(text) == quality
    assert "/somewhere" not in text
    with pytest.raises(ValidationError):
        Quality.model_validate_json(text.replace('"seconds"', '"secs"'))
