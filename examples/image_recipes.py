"""What make_images.py composes and converts: drawings, backgrounds and photographs, by file."""

from __future__ import annotations

from dataclasses import dataclass

AUTHORS = {
    "noto": "Google LLC",
    "noto_v1": "Google LLC",
    "fluent_3d": "Microsoft Corporation, by way of LobeHub",
    "fluent_color": "Microsoft Corporation",
    "twemoji": "Twitter, Inc and other contributors",
    "emojione": "EmojiOne (Ranks.com, Inc.)",
    "fxemoji": "Mozilla Foundation",
    "openclipart": "named in the file's name",
    "budgie-backgrounds": "the Budgie project",
    "lomiri-wallpapers-16-04-picosdeeuropa": "Aitzol Berasategi",
    "lomiri-wallpapers-16-04-sunset": "Aitzol Berasategi",
    "lomiri-wallpapers-16-04-umang": "Abhishek Mudgal",
    "scikit-image-brick": "from scikit-image's data",
}


@dataclass(frozen=True)
class Recipe:
    """One scene.

    Attributes:
        name: Of the file.
        drawings: Files of objects.zip, each of which appears once.
        background: File of backgrounds.zip, or None for drawn colours.
        size: Width and height in pixels.
        seed: Of the generator; chosen by eye.
        absent: Labels to ask for that are not in it: one like something in it, one unlike.
    """

    name: str
    drawings: tuple[str, ...]
    background: str | None
    size: tuple[int, int]
    seed: int
    absent: tuple[str, str]


_SEA = "budgie-backgrounds-ocean-waves.jpg"
_PEAKS = "lomiri-wallpapers-16-04-picosdeeuropa-by-aitzol-berasategi.jpg"
_SUNSET = "lomiri-wallpapers-16-04-sunset-by-aitzol-berasategi.jpg"
_WAVE = "lomiri-wallpapers-16-04-umang-by-abhishek-mudgal.jpg"
_BRICK = "scikit-image-brick.jpg"

RECIPES = (
    Recipe(
        name="meadow",
        drawings=(
            "openclipart/dog/dog-01-drawn-with-strai-01.webp",
            "fxemoji/horse/horse.webp",
            "twemoji/tree/deciduous-tree.webp",
        ),
        background=_PEAKS,
        size=(640, 480),
        seed=990,
        absent=("cow", "laptop"),
    ),
    Recipe(
        name="sea",
        drawings=(
            "noto/boat/speedboat.webp",
            "noto_v1/duck/duck.webp",
            "emojione/whale/spouting-whale.webp",
        ),
        background=_SEA,
        size=(640, 400),
        seed=2815,
        absent=("ship", "pizza"),
    ),
    Recipe(
        name="savanna",
        drawings=(
            "twemoji/elephant/elephant.webp",
            "openclipart/lion/leone-01-architetto-fran-01.webp",
            "noto_v1/airplane/small-airplane.webp",
        ),
        background=_SUNSET,
        size=(640, 480),
        seed=116,
        absent=("tiger", "ice cream"),
    ),
    Recipe(
        name="street",
        drawings=(
            "twemoji/car/sport-utility-vehicle.webp",
            "fluent_color/bus/bus.webp",
            "emojione/bicycle/bicycle.webp",
        ),
        background=_BRICK,
        size=(640, 480),
        seed=646,
        absent=("train", "strawberry"),
    ),
    Recipe(
        name="party",
        drawings=(
            "noto/cake/birthday-cake.webp",
            "emojione/gift/wrapped-gift.webp",
            "fxemoji/guitar/guitar.webp",
            "openclipart/hat/winter-hat-nathan-eady-01.webp",
        ),
        background=_WAVE,
        size=(480, 640),
        seed=26880,
        absent=("drum", "whale"),
    ),
    Recipe(
        name="lunch",
        drawings=(
            "openclipart/apple/apple-martin-schmidt-li-01r.webp",
            "noto/strawberry/strawberry.webp",
            "noto/pizza/pizza.webp",
        ),
        background=None,
        size=(600, 450),
        seed=516,
        absent=("orange", "bicycle"),
    ),
    Recipe(
        name="toys",
        drawings=(
            "openclipart/penguin/plush-tux-anita-01.webp",
            "fluent_color/star/star.webp",
            "noto/soccer-ball/soccer-ball.webp",
            "openclipart/train/kiddy-train-orlando-kara.webp",
        ),
        background=None,
        size=(450, 600),
        seed=1680,
        absent=("doll", "coffee"),
    ),
    Recipe(
        name="cats",
        drawings=(
            "openclipart/cat/gatto-cat-architetto-fra-01.webp",
            "openclipart/cat/gatto-cat-architetto-fra-03.webp",
            "openclipart/mushroom/toadstool-daniel-steele-r.webp",
        ),
        background=_PEAKS,
        size=(640, 420),
        seed=1312,
        absent=("dog", "hamburger"),
    ),
)


@dataclass(frozen=True)
class Photo:
    """One photograph from scikit-image's data. `present` was written down by looking at it."""

    name: str
    file: str
    licence: str
    author: str
    present: tuple[str, ...]
    absent: tuple[str, str]

    @property
    def source(self) -> str:
        return f"scikit-image 0.26.0, skimage/data/{self.file}"


PHOTOS = (
    Photo("cat", "chelsea.png", "CC0-1.0", "Stefan van der Walt", ("cat",), ("dog", "car")),
    Photo("cup", "coffee.png", "CC0-1.0", "Rachel Michetti", ("coffee",), ("soup", "bicycle")),
    Photo(
        name="astronaut",
        file="astronaut.png",
        licence="public domain",
        author="NASA",
        present=("helmet", "person"),
        absent=("doll", "pizza"),
    ),
    Photo(
        name="photographer",
        file="camera.png",
        licence="CC0-1.0",
        author="Lav Varshney",
        present=("camera", "person"),
        absent=("horse", "cake"),
    ),
)
