"""The command line on the embedded bundle: answers, one line of error, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samclip_sdk import __version__
from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.image.masks import rle_to_mask
from tests.command import answer, fails, run, table
from tests.drawings import TINY_BUNDLE
from tests.own_things import write_things

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "examples" / "images"
CAT, DOG, GARDEN, TEMPLE = (
    str(IMAGES / f"{name}.jpg") for name in ("cat", "dog", "garden", "temple")
)
ONNX = ("--runtime", "onnx", "--threads", "1")


def words(line: str) -> list[str]:
    """A command line's words, with the images in their places."""
    return shlex.split(line.replace("DOG", DOG).replace("IMAGES", str(IMAGES)))


class TestAnswers:
    def test_classify(self, tmp_path: Path) -> None:
        found = answer("classify", DOG, "dog", "boat", *ONNX)
        assert found["labels"] == ["dog", "boat"]
        assert found["probs"][0] > 0.5
        labels = tmp_path / "labels.txt"
        labels.write_text("\ufeffboat\n\n dog \n", encoding="utf-8")
        rows = table("classify", DOG, "--labels-file", str(labels), *ONNX)
        assert rows.index("dog") < rows.index("boat")
        assert " ms" in rows

    def test_text_writes_overlay_and_coco(self, tmp_path: Path) -> None:
        overlay, coco = tmp_path / "overlay.png", tmp_path / "masks.json"
        outputs = ("-o", str(overlay), "-o", str(coco))
        found = answer("text", DOG, "dog", "boat", *ONNX, *outputs)
        assert [each["label"] for each in found["annotations"]] == ["dog"]
        with Image.open(overlay) as drawn, Image.open(DOG) as plain:
            assert drawn.size == plain.size
            size = plain.size
        stored = json.loads(coco.read_text())["annotations"][0]["segmentation"]
        assert rle_to_mask(stored).shape == size[::-1]
        assert "absent" in table("text", DOG, "boat", *ONNX)

    def test_labels_are_kept_unless_told_otherwise(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: tmp_path)
        table("classify", GARDEN, "cat", *ONNX, "--no-text-cache")
        assert not (tmp_path / "text").exists()
        assert "text_encoder" in table("classify", GARDEN, "cat", *ONNX)
        assert "text_encoder" not in table("classify", GARDEN, "cat", *ONNX)
        coarse = ("everything", DOG, "--label", "boat", "--points-per-side", "2", *ONNX)
        table(*coarse, "--no-text-cache")
        assert "text_encoder" in table(*coarse)
        assert "text_encoder" not in table(*coarse)

    def test_text_options(self) -> None:
        assert not answer("text", DOG, "dog", *ONNX, "--threshold", "1")["annotations"]
        found = answer("text", DOG, "dog", *ONNX, "--no-refine", "--mask-threshold", "0")
        assert found["annotations"][0]["points"] == []
        found = answer("text", DOG, "dog", *ONNX, "--points-per-class", "1")
        assert len(found["annotations"][0]["points"]) == 1

    def test_instances(self, tmp_path: Path) -> None:
        overlay = tmp_path / "overlay.png"
        found = answer("instances", DOG, "dog", "boat", *ONNX, "-o", str(overlay))
        labels = [each["label"] for each in found["annotations"]]
        assert set(labels) == {"dog"}
        assert {"score", "label_score", "predicted_iou", "stability_score", "bbox"} <= set(
            found["annotations"][0]
        )
        assert overlay.exists()
        asked = ("--max-instances", "1", "--mask-threshold", "-1", "--points-per-class", "2")
        one = answer("instances", DOG, "dog", *ONNX, *asked)
        assert len(one["annotations"]) == 1
        assert one["annotations"][0]["area"] > found["annotations"][0]["area"]
        none = answer("instances", DOG, "dog", *ONNX, *asked, "--threshold", "1")
        assert not none["annotations"]
        assert "label fits" in table("instances", DOG, "dog", *ONNX)
        assert "--min-score" in table("instances", DOG, "dog", *ONNX, "--min-score", "1")

    def test_text_in_tiles(self) -> None:
        """Some cats beside the road are too small in the whole image."""
        road = str(IMAGES / "roadside.jpg")
        asked = ("text", road, "cat", *ONNX)
        (whole,), (tiled,) = (
            answer(*asked, *tiles)["annotations"] for tiles in ((), ("--tiles", "2x3"))
        )
        assert whole["area"] < tiled["area"]
        asked = ("instances", road, "cat", *ONNX)
        few = answer(*asked)["annotations"]
        more = answer(*asked, "--tiles", "200", "--tile-overlap", "0.3")["annotations"]
        assert len(few) < len(more)
        assert "384 x 384" in fails(*asked, "--tiles", "384")

    def test_everything(self, tmp_path: Path) -> None:
        coarse = ("--points-per-side", "3", "--pred-iou-thresh", "0.5", *ONNX)
        coarse = (*coarse, "--stability-score-thresh", "0.3", "--stability-score-offset", "0.5")
        found = answer("everything", DOG, *coarse)["annotations"]
        assert "dog" in {each["label"] for each in found}, "one of the bundle's own nouns"
        fewer = answer("everything", DOG, *coarse, "--box-nms-thresh", "0.1")["annotations"]
        assert 0 < len(fewer) <= len(found)
        labels = tmp_path / "labels.txt"
        labels.write_text("dog\nboat\n")
        named = answer("everything", DOG, *coarse, "--label", "dog", "--label", "boat")
        assert [each["bbox"] for each in named["annotations"]] == [each["bbox"] for each in found]
        assert "dog" in {each["label"] for each in named["annotations"]}
        assert " dog " in table("everything", DOG, *coarse, "--labels-file", str(labels))
        assert "stability" in table("everything", DOG, *coarse)

    def test_segment(self) -> None:
        found = answer("segment", DOG, *ONNX, "--box", "8,30,250,380", "--box", "0,0,90,90")
        assert [each["prompt_index"] for each in found["annotations"]] == [0, 1]
        three = answer("segment", GARDEN, *ONNX, "--point", "190,230")
        assert len(three["annotations"]) == 3
        one = answer("segment", GARDEN, *ONNX, "--point", "190,230", "--no-multimask")
        assert len(one["annotations"]) == 1
        points = ("--point", "190,230", "--point", "9,9,0")
        two = answer("segment", GARDEN, *ONNX, *points, "--no-multimask", "--mask-threshold", "5")
        assert two["annotations"][0]["area"] < one["annotations"][0]["area"]
        asked = ("segment", GARDEN, *ONNX, "--point", "190,230")
        assert "predicted IoU" in table(*asked)
        assert "alternatives" in table(*asked)
        assert "--no-multimask" in table(*asked)
        assert "alternatives" not in table(*asked, "--no-multimask")

    def test_embed(self, tmp_path: Path) -> None:
        found = answer("embed", GARDEN, *ONNX, "-o", str(tmp_path / "image.npy"))
        stored = np.load(tmp_path / "image.npy")
        np.testing.assert_allclose(stored, found["embeddings"], atol=1e-6)
        assert np.linalg.norm(stored) == pytest.approx(1, abs=1e-5)
        texts = answer("embed", "--text", "a photo of a dog.", "--text", "cat", *ONNX)
        assert texts["names"] == ["a photo of a dog.", "cat"]
        assert f"{stored.shape[1]} numbers" in table("embed", GARDEN, *ONNX)

    def test_learn_a_coco_file(self, tmp_path: Path) -> None:
        own, pack = write_things(tmp_path, images=10), str(tmp_path / "own.safetensors")
        asked = ("--coco", str(own), "--images", str(tmp_path), "-o", pack, *ONNX)
        found = answer("learn", *asked)
        (taught,) = found["report"]["labels"]
        assert (found["labels"], taught["label"]) == (["item 17"], "item 17")
        assert taught["before"]["found"] < taught["after"]["found"] == 1.0
        printed = table("learn", "Item 17", "--vocabulary", pack, *asked)
        assert "-> 100 %" in printed
        assert f"{pack}: Item 17" in printed
        assert "absent" not in table("text", str(tmp_path / "1.png"), "--vocabulary", pack, *ONNX)

    def test_help_keeps_the_options_of_the_model_apart(self) -> None:
        own, models = table("text", "--help").split("Model and device")
        assert "--output" in own
        assert "--runtime" not in own
        assert all(each in models for each in ("--model", "--runtime", "--device", "--key"))

    def test_who_was_not_measured_is_named(self, tmp_path: Path) -> None:
        own, pack = write_things(tmp_path, images=2), str(tmp_path / "own.safetensors")
        printed = table("learn", "--coco", str(own), "--images", str(tmp_path), "-o", pack, *ONNX)
        assert "held out shows item 17" in " ".join(printed.split())

    def test_learn_from_one_point_and_a_negative_that_is_like_it(self, tmp_path: Path) -> None:
        pack = str(tmp_path / "tabby.safetensors")
        points = ("--positive", f"{CAT}:150,200", "--negative", f"{GARDEN}:190,230")
        found = answer("learn", "tabby", *points, "-o", pack, *ONNX)
        shown, other = found["presence"]
        assert 0.7 < other < found["threshold"] < shown
        assert found["found"] == [True, False]
        assert "absent" not in table("text", CAT, "--vocabulary", pack, *ONNX)
        assert "absent" in table("text", GARDEN, "--vocabulary", pack, *ONNX)
        printed = " ".join(table("learn", "tabby", *points, "-o", pack, *ONNX).split())
        assert f"the threshold of tabby is {found['threshold']:.2f}" in printed
        assert "still found" not in printed

    def test_learn_tells_which_negatives_are_still_found(self, tmp_path: Path) -> None:
        pack, image = str(tmp_path / "part.safetensors"), IMAGES / "astronaut.jpg"
        suit, face = f"{image}:153,307", f"{image}:307,153"  # one touches the other
        asked = ("learn", "part", "--positive", suit, "--negative", face, "-o", pack, *ONNX)
        told = answer(*asked)
        assert told["found"] == [True, True]
        assert told["threshold"] == answer("info")["manifest"]["calibration"]["presence_threshold"]
        assert f"still found: {face}" in " ".join(table(*asked).split())

    def test_learn_tells_a_whole_from_a_part(self, tmp_path: Path) -> None:
        """The box of a dog's middle teaches the whole dog; that of a temple teaches the temple."""
        asked = ("-o", str(tmp_path / "part.safetensors"), *ONNX)
        part = ("learn", "part 3", "--positive", f"{DOG}:60,150,120,210", *asked)
        told = answer(*part)
        (fit,) = told["box_ious"]
        assert told["whole"]
        assert (fit["before"], told["found"]) == (0.0, [True])
        assert 0 < fit["after"] < 0.3
        printed = " ".join(table(*part).split())
        assert f"0 % -> {100 * fit['after']:.0f} %" in printed
        assert "learnt the whole thing, not the part" in printed
        assert "finetune" in printed
        temple = ("learn", "item 17", "--positive", f"{TEMPLE}:60,30,370,400", *asked)
        told = answer(*temple)
        assert told["box_ious"][0]["after"] > 0.7
        assert not told["whole"]
        assert "not the part" not in table(*temple)
        point = answer("learn", "pet", "--positive", f"{DOG}:140,200", *asked)
        assert point["box_ious"] == [{"before": None, "after": None}]

    def test_learn_a_part_from_a_coco_file(self, tmp_path: Path) -> None:
        own = write_things(tmp_path, images=10, part=True)
        asked = ("--coco", str(own), "--images", str(tmp_path), "--model", str(TINY_BUNDLE), *ONNX)
        printed = table("learn", *asked, "-o", str(tmp_path / "own.safetensors"))
        assert "item 17 learnt the whole thing, not the part" in " ".join(printed.split())

    def test_learn(self, tmp_path: Path) -> None:
        pack, more = str(tmp_path / "temple.safetensors"), str(tmp_path / "more.safetensors")
        box = ("--positive", f"{TEMPLE}:60,30,370,400")
        found = answer("learn", "item 17", *box, "-o", pack, *ONNX)
        assert (found["output"], found["labels"]) == (pack, ["item 17"])
        assert found["scores"] == [pytest.approx(0.95, abs=1e-3)]
        assert "absent" in table("text", TEMPLE, "item 17", *ONNX)
        assert "absent" not in table("text", TEMPLE, "--vocabulary", pack, *ONNX)
        assert "absent" in table("text", DOG, "--vocabulary", pack, *ONNX)
        points = ("--positive", f"{DOG}:140,200", "--negative", f"{GARDEN}:190,230")
        asked = ("--vocabulary", pack, "--score", "0.9", "-o", more, *ONNX)
        printed = table("learn", "pet", *points, *asked)
        assert f"{DOG}:140,200" in printed
        assert "item 17, pet" in printed
        named = answer("classify", DOG, "--vocabulary", more, *ONNX)
        assert named["labels"] == ["item 17", "pet"]
        assert named["probs"][1] > 0.5
        assert answer("classify", DOG, "pet", "cat", "--vocabulary", more, *ONNX)["labels"] == [
            "pet",
            "cat",
        ]
        coarse = ("--points-per-side", "3", "--pred-iou-thresh", "0", *ONNX)
        coarse = (*coarse, "--stability-score-thresh", "0", "--vocabulary", more)
        things = answer("everything", DOG, *coarse)["annotations"]
        assert {each["label"] for each in things} <= {"", "item 17", "pet"}

    def test_the_version(self) -> None:
        """Of the package that is run as a module."""
        command = [sys.executable, "-m", "samclip_sdk", "--version"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == f"samclip-sdk {__version__}\n"

    def test_points_that_are_shares_of_an_image(self) -> None:
        assert "(0.5, 0.5) lies within one pixel" in fails(
            "segment", DOG, "--point", ".5,.5", *ONNX
        )

    def test_a_warning_is_one_line(self) -> None:
        result = run("classify", GARDEN, "dog", "x" * 10_000, *ONNX, "--json")
        assert result.exit_code == 0
        cut, unknown = result.stderr.splitlines()
        assert cut.startswith("warning: 'xxx")
        assert unknown.startswith("warning: 'xxx")
        assert "is not known" in unknown
        json.loads(result.stdout)


class TestErrors:
    """Of what is given, before any work: the model is not there either, and no one asks for it."""

    NO_MODEL = ("--model", "none")

    @pytest.mark.parametrize(
        ("line", "word"),
        [
            ("classify none.png dog", "none.png"),
            ("embed https://host/dog.jpg", "download it first"),
            ("learn cup --positive https://host/dog.jpg:1,1", "download it first"),
            ("embed --text dog -o none/x.npy", "none/x.npy"),
            ("text DOG dog -o none/masks.png", "none/masks.png"),
            ("text DOG dog -o /dev/null/masks.png", "/dev/null/masks.png"),
            ("classify DOG --labels-file none", "labels in none"),
            ("classify DOG --labels-file DOG", "UTF-8"),
            ("classify DOG --labels-file /dev/null", "/dev/null has no label"),
            ("classify DOG dog --threads -1", "threads is -1"),
            ("classify DOG dog --runtime tpu", "'tpu'"),
            ("learn cup --positive none.png:1,1", "none.png"),
            ("learn cup --positive x:1,1 -o none/x.safetensors", "none/x"),
            ("learn ' ' --positive x:1,1", "label 0"),
            ("classify IMAGES dog", "is a folder"),
            ("learn --coco none.json --images IMAGES", "none.json"),
            ("bench none.png", "none.png"),
            ("bench --label-count 2", "label_count is 2"),
            ("bench --seconds nan", "seconds is nan"),
            ("verify --runtime torch", "'torch'"),
        ],
    )
    def test_one_line_and_code_1(
        self, monkeypatch: pytest.MonkeyPatch, line: str, word: str
    ) -> None:
        monkeypatch.chdir(ROOT)
        assert word in fails(*words(line), *self.NO_MODEL)

    @pytest.mark.parametrize(
        "line",
        [
            "classify DOG",
            "classify DOG dog --labels-file DOG",
            "text DOG dog -o masks.gif",
            "annotate IMAGES dog --tiles 2x",
            *(f"text DOG dog --tiles {tiles}" for tiles in ("2x", "0x2", "1x1", "7")),
            "text DOG dog --tile-overlap 0.3",
            "everything DOG --tiles 2x3x4",
            "everything DOG -o masks.gif",
            "everything DOG --label dog --labels-file DOG",
            "segment DOG",
            *(f"segment DOG --point {point}" for point in ("9", "x,y", "9,9,0.5")),
            "segment DOG --box 1,2,3",
            "learn cup",
            "learn cup --positive DOG",
            "learn cup --positive DOG:1,2,3",
            "learn cup --positive DOG:1,2 --negative 1,2",
            "learn cup --positive DOG:1,2 -o cup.npz",
            "learn --positive DOG:1,2",
            "learn --coco own.json",
            "learn cup --images IMAGES --positive DOG:1,2",
            "learn cup --coco own.json --images IMAGES --negative DOG:1,2",
            "embed",
            "embed DOG --text dog",
            "embed DOG -o vector.txt",
        ],
    )
    def test_wrong_usage_is_code_2(self, line: str) -> None:
        assert fails(*words(line), *self.NO_MODEL, code=2).count("\n") == 1

    @pytest.mark.parametrize("verb", ["info", "verify", "bench", "tune", "compile"])
    def test_a_model_that_is_not_there(self, verb: str) -> None:
        assert "none.zip" in fails(verb, "--model", "none.zip")

    def test_compile_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_gpu() -> None:
            raise RuntimeMissingError("there is no GPU")

        monkeypatch.setattr("samclip_sdk.runtimes.tensorrt.cuda.import_cudart", no_gpu)
        assert "there is no GPU" in fails("compile")


class TestInfo:
    def test_a_row_a_graph_and_a_column_a_precision(self) -> None:
        bundle = open_bundle(DEFAULT_MODEL)
        found = answer("info")
        assert found["id"] == bundle.id
        assert found["manifest"]["name"] == DEFAULT_MODEL
        printed = table("info")
        for graph in bundle.manifest.graphs:
            assert printed.count(f" {graph} ") == 1
        (header,) = (line for line in printed.splitlines() if "onnx fp32" in line)
        assert re.search("onnx fp32.*onnx fp16.*onnx int8", header)
        with_files = table("info", "--files")
        for stored in bundle.manifest.stored_files():
            assert stored.sha256[:16] not in printed
            assert stored.sha256[:16] in with_files

    def test_weights_that_were_not_calibrated(self, tmp_path: Path) -> None:
        assert re.search("weights +│ trained +│", table("info"))
        folder = tmp_path / "uncalibrated"
        shutil.copytree(TINY_BUNDLE, folder)
        content = json.loads((folder / "manifest.json").read_text())
        content["calibration"] = UNCALIBRATED.model_dump(mode="json")
        (folder / "manifest.json").write_text(json.dumps(content))
        printed = table("info", "--model", str(folder))
        assert re.search("weights +│ trained, not calibrated for texts", printed)

    def test_a_command_to_be_copied_is_not_cut(self) -> None:
        """However narrow the terminal is."""
        narrow = run("info", "--runtimes", env={"FORCE_COLOR": "1", "COLUMNS": "40"}).stdout
        reasons = [each["reason"] for each in answer("info", "--runtimes")["runtimes"]]
        for reason in filter(None, reasons):
            assert reason in narrow
        assert "…" not in narrow


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path) -> None:
    """One line, code 130; the same command then goes on."""
    images, output = tmp_path / "images", tmp_path / "found.json"
    images.mkdir()
    for index in range(60):
        shutil.copy(DOG, images / f"{index:02}.jpg")
    command = [sys.executable, "-m", "samclip_sdk", "annotate", str(images), "dog", *ONNX]
    command += ["--output", str(output)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = output.with_name("found.progress.jsonl")
    until = time.monotonic() + 60
    while time.monotonic() < until and (not log.exists() or log.read_bytes().count(b"\n") < 4):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert re.fullmatch(r"interrupted: annotating, \d+ of 60; .*\n", said)
    assert {each.name for each in tmp_path.iterdir()} == {"images", log.name}
    for path in sorted(images.iterdir())[4:]:
        path.unlink()
    found = answer("annotate", str(images), "dog", *ONNX, "-o", str(output))
    assert (found["images"], found["skipped"]) == (4, [])
    assert found["resumed"] >= 3
    assert len(json.loads(output.read_text())["images"]) == 4
