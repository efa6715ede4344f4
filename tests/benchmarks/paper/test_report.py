"""A made record: how parts are merged, what the page says, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import (
    Accuracy,
    AtAlpha,
    AtLambda,
    AtResolution,
    Everything,
    Lambdas,
    Method,
    PaperSettings,
    Part,
    PhotographSettings,
    Probe,
    Probing,
    Resolutions,
    Results,
    Teachers,
    TextToMasks,
    TopK,
    TradeOff,
    WiseFt,
    store_part,
)
from benchmarks.paper.report import draw_charts, render
from benchmarks.quality.record import PromptIou, TextToMask
from benchmarks.record import describe_environment, read_record

RUN = {
    "environment": describe_environment(["paper", "--runs", "/somewhere/tiny"]),
    "settings": PaperSettings(nouns=150, pictures=20, scenes=4, steps=30, seed=3),
    "weights": {"stage3": "0123456789abcdef"},
    "seconds": 90.0,
}


def accuracy_of(top1: float) -> Accuracy:
    return {
        "clean": TopK(labels=150, top1=top1, top5=top1 + 0.1),
        "composed": TopK(labels=150, pictures=20, top1=top1 / 2, top5=top1),
    }


def prompts_of(who: str, box: float) -> PromptIou:
    return PromptIou(
        who=who,
        split="heldout_instance",
        objects=9,
        box=box,
        box_best=box,
        point=box / 2,
        point_best=box,
    )


def trade_off(top1: float, box: float) -> TradeOff:
    return TradeOff(accuracy=accuracy_of(top1), prompts=prompts_of("model", box))


def method(heads: str, miou: float, clip_passes: float) -> Method:
    figures = TextToMask(
        heads=heads,
        split="heldout_instance",
        scenes=4,
        present=8,
        absent=20,
        miou=miou,
        recall=0.74,
        iou_found=None,
        false_positive_rate=None,
        nearest_false_positive_rate=None,
    )
    return Method(figures=figures, sam_passes=1, clip_passes=clip_passes, milliseconds=12.4)


def probe(backbone: str, top1: float, miou: float) -> Probe:
    return Probe(
        backbone=backbone,
        classification_px=256,
        classification_width=384,
        classification_l2=0.01,
        accuracy=accuracy_of(top1),
        segmentation_px=256,
        segmentation_width=192,
        segmentation_l2=0.1,
        grid=16,
        miou=miou,
        background_iou=0.8,
    )


def lambdas(*boxes: float) -> Part[Lambdas]:
    rows = tuple(
        AtLambda(sam_weight=10.0**power, **dict(trade_off(0.3, box)))
        for power, box in enumerate(boxes)
    )
    return Part[Lambdas](figures=Lambdas(training={"steps": 30}, rows=rows), **RUN)


@pytest.fixture(scope="module")
def results() -> Results:
    teachers = Teachers(
        clip_teacher=accuracy_of(0.8),
        sam_teacher=prompts_of("sam_teacher", 0.9),
        student_accuracy=accuracy_of(0.6),
        student_prompts=prompts_of("model", 0.72),
    )
    methods = (
        method("clip_head", 0.3, 0),
        method("both_heads", 0.4, 0),
        method("two_models", 0.2, 21.3),
        method("two_models_or_nothing", 0.25, 21.3),
    )
    probes = (
        probe("sam_teacher", 0.1, 0.02),
        probe("clip_teacher", 0.7, 0.3),
        probe("student", 0.5, 0.33),
    )
    rows = tuple(
        AtResolution(stage=stage, resolution_px=px, accuracy=accuracy_of(px / 1000))
        for stage in ("stage2", "stage3")
        for px in (96, 256)
    )
    points = tuple(
        AtAlpha(alpha=alpha, **dict(trade_off(alpha / 2, 1 - alpha))) for alpha in (0.0, 0.5, 1.0)
    )
    return Results(
        teachers=Part(figures=teachers, **RUN),
        text_to_mask=Part(
            figures=TextToMasks(everything=Everything(), tuning_scenes=30, methods=methods), **RUN
        ),
        probing=Part(figures=Probing(train_pictures=120, train_scenes=16, probes=probes), **RUN),
        resolutions=Part(figures=Resolutions(rows=rows), **RUN),
        wise_ft=Part(
            figures=WiseFt(training={}, points=points, joint=trade_off(0.6, 0.72), joint_steps=99),
            **RUN,
        ),
        lambdas=lambdas(0.5, 0.6, 0.7),
    )


def rows_of(page: str) -> dict[str, list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {each[0]: each[1:] for each in cells}


def test_the_tables(results: Results) -> None:
    tables = render(results)
    rows = rows_of("\n".join(tables.values()))
    assert rows["top-1, composed pictures"] == ["40.0", "30.0", "75.0%"]
    assert rows["mIoU, one box"] == ["90.0", "72.0", "80.0%"]
    assert rows["two models: SAM everything + CLIP"] == ["20.0", "74.0", "–", "1 + 21.3", "12"]
    assert rows["SAM teacher"] == ["5.0", "10.0", "2.0", "80.0", "16 x 16"]
    assert rows["student after stage3"] == ["4.8", "12.8"]
    assert rows["alpha 0.5"] == ["12.5", "25.0", "50.0", "25.0"]
    assert rows["the joint model, 99 steps from the same stage 1"][0] == "30.0"
    assert rows["lambda 100"] == ["15.0", "30.0", "70.0", "35.0"]
    assert "trainings of 30 steps" in tables["lambdas"]
    assert "trainings of" not in tables["probing"]
    assert "/somewhere" not in "".join(tables.values())


def test_the_tables_of_photographs(results: Results) -> None:
    """Each list of names has a column or a row; no training made the averaged weights."""
    accuracy: Accuracy = {
        "imagenet": TopK(labels=997, pictures=7, top1=0.6, top5=0.8),
        "all_names": TopK(labels=1592, pictures=9, top1=0.4, top5=0.5),
    }
    both = {"accuracy": accuracy, "prompts": prompts_of("model", 0.8)}
    asked = {"settings": PhotographSettings(sets=67, complete=5, pictures=9, scenes=4)}
    figures = WiseFt(points=(AtAlpha(alpha=0.5, **both),), joint=TradeOff(**both))
    row = AtResolution(stage="stage1", resolution_px=288, accuracy=accuracy)
    found = Results(
        wise_ft=Part(figures=figures, **RUN | asked),
        resolutions=Part(figures=Resolutions(rows=(row,)), **RUN | asked),
    )
    tables = render(found)
    rows = rows_of(tables["wise_ft"])
    assert rows["percent"][:2] == ["top-1, the sets' names", "top-1, ImageNet's names"]
    assert rows["alpha 0.5"] == rows["the joint model"] == ["40.0", "60.0", "80.0", "40.0"]
    assert "Up to 9 named photographs and 4 with masks, of 67 sets" in tables["wise_ft"]
    assert "trainings of" not in tables["wise_ft"]
    rows = rows_of(tables["resolutions"])
    assert rows["student after stage1, the sets' names"] == ["40.0"]
    assert rows["student after stage1, ImageNet's names"] == ["60.0"]
    assert list(draw_charts(found)) == ["resolutions", "wise_ft"]


def test_what_was_not_measured_says_so(results: Results) -> None:
    missing = {
        name
        for name, text in render(Results(lambdas=results.lambdas)).items()
        if text == "This was not measured.\n"
    }
    assert missing == set(Results.model_fields) - {"lambdas"}


def test_figures_are_drawn_the_same_each_time(results: Results) -> None:
    drawn = draw_charts(results)
    assert list(drawn) == ["text_to_mask", "probing", "resolutions", "wise_ft", "lambdas"]
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())
    part = Results(lambdas=results.lambdas)
    assert draw_charts(part) == {"lambdas": drawn["lambdas"]}
    assert draw_charts(Results()) == {}


def test_parts_are_merged_one_by_one(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for name in Results.model_fields:
        part: Part[Any] = getattr(results, name)
        store_part(path, name, part)
    assert read_record(Results, path) == results
    # A part measured anew takes the place of its own older one, and of no other.
    store_part(path, "lambdas", lambdas(0.1, 0.2))
    again = read_record(Results, path)
    assert again.lambdas == lambdas(0.1, 0.2)
    assert again.model_copy(update={"lambdas": results.lambdas}) == results
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_another_file_is_not_overwritten(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"quality": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match="holds no Results: quality"):
        store_part(path, "lambdas", lambdas(0.1))
    assert path.read_text(encoding="utf-8") == '{"quality": 1}'
    with pytest.raises(ValueError, match="teachers"):
        store_part(tmp_path / "new.json", "teachers", lambdas(0.1))
    assert not (tmp_path / "new.json").exists()


def paper(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["paper", *arguments])
    return done.exit_code, done.output


def test_a_part_says_which_folder_is_missing(paper_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "tiny"
    run.mkdir()
    (run / "clip_teacher").symlink_to(paper_run / "clip_teacher")
    output = tmp_path / "results.json"
    code, said = paper("--runs", str(run), "--only", "lambdas", "--output", str(output))
    assert code == 1
    assert len(said.splitlines()) == 1
    assert f"{run / 'sam_teacher'} has no model.safetensors" in said
    assert "run the stage sam_teacher to its end first" in said
    assert not output.exists()


def test_nothing_is_measured_that_could_not_be_stored(paper_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    output.write_text("{}]", encoding="utf-8")
    code, said = paper("--runs", str(paper_run), "--output", str(output))
    assert (code, len(said.splitlines())) == (1, 1)
    code, said = paper("--runs", str(paper_run), "--output", str(tmp_path / "no" / "r.json"))
    assert code == 1
    assert "does not exist" in said


def test_parts_are_measured_from_the_command_line(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.paper.inputs.open_drawings", lambda *_, **__: inputs)
    monkeypatch.setattr("benchmarks.paper.inputs.TUNING_SCENES", 2)
    output = tmp_path / "results.json"
    for name in ("teachers", "text_to_mask"):
        code, said = paper("--runs", str(inputs.pair.runs), "--only", name, "--output", str(output))
        assert code == 0, said
        assert f"{name}: stored in" in said
    results = read_record(Results, output)
    assert results.teachers is not None
    assert results.text_to_mask is not None
    assert list(results.teachers.weights) == ["clip_teacher", "sam_teacher", "stage3"]
    assert results.teachers.settings == inputs.asked.settings
    assert results.probing is None
    assert json.loads(output.read_text(encoding="utf-8"))["lambdas"] is None
    assert "| one model, both heads |" in render(results)["text_to_mask"]
