"""A WordNet of some hundred names of things, with senses as confusing as the real one's."""

from __future__ import annotations

from pathlib import Path

from tests.training.text.wordnet_files import Nouns, write_wordnet

_NOUNS: Nouns = {
    1: (3, ("entity",), (), ""),
    2: (3, ("physical_entity",), (1,), ""),
    3: (3, ("object", "physical_object"), (2,), ""),
    4: (3, ("organism", "being"), (3,), ""),
    5: (3, ("artifact", "artefact"), (3,), ""),
    6: (3, ("abstraction",), (1,), ""),
    100: (3, ("animal", "beast"), (4,), ""),
    101: (5, ("dog", "domestic_dog"), (100,), ""),
    102: (5, ("pug", "pug-dog"), (101,), ""),
    103: (5, ("cat", "true_cat"), (100,), ""),
    104: (5, ("horse", "Equus_caballus"), (100,), ""),
    105: (5, ("cow", "moo-cow"), (100,), ""),
    106: (5, ("kitten", "kitty"), (100,), ""),
    107: (5, ("Chihuahua",), (101,), ""),
    108: (5, ("whale",), (100,), ""),
    109: (5, ("kid",), (100,), ""),
    200: (3, ("person", "individual", "someone"), (4,), ""),
    201: (18, ("adult",), (200,), ""),
    202: (18, ("man", "adult_male"), (201,), ""),
    203: (18, ("serviceman", "man"), (200,), ""),
    204: (18, ("man",), (200,), ""),
    205: (18, ("woman", "adult_female"), (201,), ""),
    207: (18, ("frump", "dog"), (200,), ""),
    208: (18, ("chump", "mug"), (200,), ""),
    209: (18, ("Hart_Crane", "crane"), (200,), ""),
    210: (18, ("Crane",), (200,), ""),
    211: (18, ("giant", "whale"), (200,), ""),
    212: (18, ("child", "kid"), (200,), ""),
    213: (5, ("homo", "man"), (100,), ""),
    300: (6, ("vehicle",), (5,), ""),
    301: (6, ("car", "auto", "automobile"), (300,), ""),
    302: (6, ("cab", "taxi", "taxicab"), (301,), ""),
    303: (6, ("bus", "autobus"), (300,), ""),
    304: (6, ("truck", "motortruck"), (300,), ""),
    400: (6, ("furniture",), (5,), ""),
    401: (6, ("sofa", "couch", "lounge"), (400,), ""),
    402: (6, ("table",), (400,), ""),
    403: (6, ("dining_table", "board"), (400,), ""),
    404: (14, ("table", "tabular_array"), (6,), ""),
    500: (6, ("cup",), (5,), ""),
    502: (6, ("glass", "drinking_glass"), (5,), ""),
    504: (6, ("mug",), (5,), ""),
    507: (6, ("crane", "lifting_machine"), (5,), ""),
    510: (10, ("sign",), (6,), ""),
    512: (6, ("flag", "flagstone"), (5,), ""),
    511: (10, ("street_sign",), (510,), ""),
    600: (3, ("food", "nutrient"), (2,), ""),
    601: (13, ("hot_dog", "frankfurter"), (600,), ""),
    700: (14, ("people",), (6,), ""),
    701: (14, ("work_force", "men"), (6,), ""),
}
_COUNTS = {
    ("dog", 1): 42,
    ("dog", 2): 3,
    ("kid", 2): 53,
    ("man", 1): 749,
    ("man", 2): 346,
    ("man", 3): 87,
    ("man", 4): 75,
    ("people", 1): 257,
    ("person", 1): 6833,
    ("whale", 2): 1,
}


def write_things(folder: Path, more: Nouns | None = None) -> Path:
    """Writes it, with more nouns if they are given."""
    plurals = {"men": "man", "women": "woman"}
    nouns = {**_NOUNS, **(more or {})}
    return write_wordnet(folder, nouns, counts=_COUNTS, irregular=plurals)
