"""Makes the pictures in images/: scenes of held-out drawings, and a few public-domain photographs.

Run it from the root of a checkout: `python -m examples.make_images examples/images`. With the
folder `skimage/data` of an unpacked scikit-image wheel after `--photos`, it makes the photographs
anew too. No drawing and no background in the scenes was ever trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from examples.image_recipes import AUTHORS, PHOTOS, RECIPES, Recipe
from samclip_sdk.masks import mask_to_rle
from training.composed.corpus import CORPUS, Corpus, canonical, load_corpus
from training.composed.scenes import Scene, compose_scene
from training.composed.vocabulary import tiny_vocabulary

SPLIT = "heldout_instance"
NOUNS = 150  # the default model's; asking for others would test another thing
SPARE = 1.1  # side of the square that is composed, over the longer side of what is cut from it
SCALE = (0.24, 0.44)  # of a drawing's longest side; a larger one would look blurred
QUALITY = 88


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--photos", type=Path, help="skimage/data of an unpacked scikit-image wheel"
    )
    options = parser.parse_args()
    nouns = [noun.name for noun in tiny_vocabulary(NOUNS)]
    rows = [
        row
        for row in _rows("objects.csv")
        if row["split"] == SPLIT and canonical(row["concept"]) in nouns
    ]
    drawings = {row["file"]: row for row in rows}
    corpus = load_corpus(CORPUS, split=SPLIT, nouns=nouns)  # in the order of the rows
    labels: dict[str, dict[str, list[str]]] = {}
    masks: dict[str, dict[str, object]] = {}
    licences: list[tuple[str, ...]] = []
    for recipe in RECIPES:
        file = f"{recipe.name}.jpg"
        scene = compose(recipe, recipe_corpus(recipe, corpus, files=list(drawings)))
        Image.fromarray(scene.image).save(options.output / file, quality=QUALITY, optimize=True)
        names = [canonical(drawings[recipe.drawings[k]]["concept"]) for k in scene.labels]
        present = sorted(set(names))
        labels[file] = {"present": present, "absent": list(recipe.absent)}
        masks[file] = {
            name: mask_to_rle(scene.masks[np.array(names) == name].any(axis=0)) for name in present
        }
        licences += [(file, *row) for row in parts(recipe, drawings)]
    for photo in PHOTOS:
        file = f"{photo.name}.jpg"
        if options.photos:
            with Image.open(options.photos / photo.file) as image:
                # PNG files may name an alpha channel; JPEG has none.
                image = image if image.mode == "L" else image.convert("RGB")
                image.save(options.output / file, quality=QUALITY, optimize=True)
        labels[file] = {"present": list(photo.present), "absent": list(photo.absent)}
        licences.append((file, "photograph", photo.source, photo.licence, photo.author))
    _write_json(options.output / "labels.json", labels)
    _write_json(options.output / "true_masks.json", masks)
    with (options.output / "LICENSES.csv").open("w", encoding="utf-8", newline="") as csv_file:
        writer = csv.writer(csv_file, lineterminator="\n")
        writer.writerow(("file", "part", "source", "licence", "author"))
        writer.writerows(licences)


def recipe_corpus(recipe: Recipe, corpus: Corpus, *, files: list[str]) -> Corpus:
    """A corpus of the recipe's drawings, one label each, and of its background."""
    pick = [files.index(drawing) for drawing in recipe.drawings]
    scenery = [row["file"] for row in _rows("backgrounds.csv") if row["split"] == "heldout"]
    photos = tuple(
        photo
        for name, photo in zip(scenery, corpus.backgrounds, strict=True)
        if name == recipe.background
    )
    return Corpus(
        cutouts=tuple(corpus.cutouts[k] for k in pick),
        labels=np.arange(len(pick)),
        nouns=recipe.drawings,
        backgrounds=photos,
        shown=(np.zeros(1, np.int64),) * len(photos),  # so that a scene tells if it is there
    )


def compose(recipe: Recipe, corpus: Corpus) -> Scene:
    """The recipe's scene, cut to its size around the objects.

    Raises:
        ValueError: With this seed, a drawing or the background is missing, appears twice or does
            not fit. Another version of training/composed/scenes.py needs other seeds.
    """
    count = len(recipe.drawings)
    scene = compose_scene(
        corpus,
        np.random.default_rng(recipe.seed),
        size_px=round(max(recipe.size) * SPARE),
        count=(count, count),
        scale=SCALE,
    )
    width, height = recipe.size
    side = len(scene.image)
    (x0, y0), (x1, y1) = scene.boxes[:, :2].min(axis=0), scene.boxes[:, 2:].max(axis=0)
    left = int(np.clip((x0 + x1 - width) / 2, 0, side - width))
    top = int(np.clip((y0 + y1 - height) / 2, 0, side - height))
    inside = left <= x0 and top <= y0 and x1 <= left + width and y1 <= top + height
    complete = sorted(scene.labels) == list(range(count))
    if not (inside and complete and len(scene.unlabelled) == len(corpus.backgrounds)):
        raise ValueError(f"{recipe.name}: seed {recipe.seed} no longer makes this scene")
    return replace(
        scene,
        image=scene.image[top : top + height, left : left + width],
        masks=scene.masks[:, top : top + height, left : left + width],
        boxes=scene.boxes - np.array([left, top, left, top], np.float32),
    )


def parts(recipe: Recipe, drawings: dict[str, dict[str, str]]) -> list[tuple[str, str, str, str]]:
    """Part, source, licence and author of all that a scene was composed of."""
    rows = [
        ("drawing", file, drawings[file]["licence"], AUTHORS[drawings[file]["style"]])
        for file in recipe.drawings
    ]
    for row in _rows("backgrounds.csv"):
        if row["file"] == recipe.background:
            author = next(who for start, who in AUTHORS.items() if row["file"].startswith(start))
            rows.append(("background", row["source"], row["licence"], author))
    return rows


def _rows(name: str) -> list[dict[str, str]]:
    with (CORPUS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
