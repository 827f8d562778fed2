"""Where do pictures come from without a download? Draw them, and say what they show.

A scene is two coloured shapes, beside or above one another. Everything follows from
one seed: which scenes, their pictures (NumPy arithmetic), five true captions each, and
the features, a fixed grid over the picture. The files are those that `data` reads.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from apps.captioning.data import SPECIAL_WORDS, write_folder

COLOURS = {
    "red": (0.84, 0.19, 0.15),
    "green": (0.20, 0.63, 0.27),
    "blue": (0.16, 0.38, 0.80),
    "yellow": (0.95, 0.80, 0.15),
    "purple": (0.55, 0.27, 0.68),
}
SHAPES = ("circle", "square", "triangle")
# Relation of the first shape to the second -> the same, seen from the second.
OPPOSITES = {"left of": "right of", "above": "below"}

# Colour and shape of the first thing, relation, colour and shape of the second.
Kind = tuple[str, str, str, str, str]

SIZE = 64  # pixels a side
CELLS = 8  # grid cells a side
MAX_WORDS = 17  # ids a caption, as in the cs231n files
TRAIN_SCENES, VAL_SCENES = 1500, 200


@dataclass(frozen=True)
class Thing:
    """One shape: what it is, and where (centre and half its width, in pixels)."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """Two things, the first left of or above the second."""

    first: Thing
    second: Thing
    relation: str


def captions(scene: Scene) -> list[str]:
    """Five true captions, differently worded; no other sentence is in the grammar."""
    first, second = scene.first, scene.second
    relation, opposite = scene.relation, OPPOSITES[scene.relation]
    return [
        f"a {first} {relation} a {second}",
        f"a {second} {opposite} a {first}",
        f"the {first} is {relation} the {second}",
        f"there is a {first} {relation} a {second}",
        f"a picture of a {first} and a {second}",
    ]


def vocabulary() -> list[str]:
    """Every word of the grammar, the special ones first."""
    phrases = [*OPPOSITES, *OPPOSITES.values(), *COLOURS, *SHAPES]
    phrases += ["a the is there picture of and"]
    return [*SPECIAL_WORDS, *sorted({w for p in phrases for w in p.split()})]


def mask(thing: Thing) -> np.ndarray:
    """How much of each pixel a thing covers. Shapes: -> (SIZE, SIZE), 0 to 1."""
    fine = 4  # sub-pixels a side, for smooth edges
    places = (np.arange(SIZE * fine) + 0.5) / fine
    x, y = places[None, :] - thing.x, places[:, None] - thing.y
    r = thing.radius
    if thing.shape == "circle":
        inside = x**2 + y**2 <= r**2
    elif thing.shape == "square":
        inside = np.maximum(abs(x), abs(y)) <= 0.89 * r
    else:
        inside = (abs(x) <= (y + r) / 2) & (y <= r)
    return inside.reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3))


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw a scene on bright paper with a little noise. Shapes: -> (SIZE, SIZE, 3)."""
    picture = np.full((SIZE, SIZE, 3), 0.93)
    for thing in (scene.first, scene.second):
        covered = mask(thing)[:, :, None]
        picture = picture * (1 - covered) + covered * np.array(COLOURS[thing.colour])
    picture += rng.normal(scale=0.01, size=picture.shape)
    return np.round(255 * picture.clip(0, 1)).astype(np.uint8)


def grid_features(picture: np.ndarray) -> np.ndarray:
    """Describe a picture by a fixed grid: colours and edge directions in each cell.

    Shapes: picture (SIZE, SIZE, 3) uint8 -> (CELLS * CELLS * 7,) float32. A cell has
    its mean colour (3) and how much the picture changes across four directions.
    """
    colour = 1 - picture / 255.0
    ink = np.pad(colour.max(axis=2), 1, mode="edge")
    here = ink[1:-1, 1:-1]
    neighbours = [ink[1:-1, 2:], ink[2:, 1:-1], ink[2:, 2:], ink[2:, :-2]]
    edges = [abs(there - here) for there in neighbours]
    channels = np.concatenate([colour, np.stack(edges, axis=2)], axis=2)
    width = SIZE // CELLS
    cells = channels.reshape(CELLS, width, CELLS, width, -1).mean(axis=(1, 3))
    return cells.astype(np.float32).ravel()


def ensure(folder: Path, seed: int = 0) -> Path:
    """Draw the set into a folder unless it is there already; give the folder.

    The files are made beside it and moved there in one step, so that an interrupted
    first use leaves nothing half made.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(unfinished, seed)
        unfinished.chmod(0o755)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def make(
    folder: Path, seed: int = 0, scenes: tuple[int, int] = (TRAIN_SCENES, VAL_SCENES)
) -> None:
    """Draw training and validation scenes; no kind of scene is in both."""
    rng = np.random.default_rng(seed)
    groups = split_kinds(rng)
    words = vocabulary()
    (folder / "images").mkdir(parents=True)
    splits = {}
    for (split, group), count in zip(groups.items(), scenes, strict=True):
        drawn = [_place(group[i % len(group)], rng) for i in range(count)]
        splits[split] = _draw_split(folder, split, drawn, words, rng)
    write_folder(folder, words, splits)


def split_kinds(rng: np.random.Generator) -> dict[str, list[Kind]]:
    """Deal out all kinds of scene: one in six, of each relation, is for validation."""
    things = list(product(COLOURS, SHAPES))
    pairs = [(a, b) for a, b in product(things, things) if a != b]
    orders = {relation: rng.permutation(len(pairs)) for relation in OPPOSITES}
    groups: dict[str, list[Kind]] = {"train": [], "val": []}
    for place in range(len(pairs)):
        group = groups["val" if place < len(pairs) // 6 else "train"]
        for relation, order in orders.items():
            first, second = pairs[order[place]]
            group.append((*first, relation, *second))
    return groups


def _place(kind: Kind, rng: np.random.Generator) -> Scene:
    """Put the two things of a kind of scene somewhere that fits their relation."""
    colour_1, shape_1, relation, colour_2, shape_2 = kind
    across = rng.uniform(26, 38, size=2)
    along = rng.uniform([14, 46], [18, 50])
    x, y = (along, across) if relation == "left of" else (across, along)
    radius = rng.uniform(10, 13, size=2)
    return Scene(
        Thing(colour_1, shape_1, x[0], y[0], radius[0]),
        Thing(colour_2, shape_2, x[1], y[1], radius[1]),
        relation,
    )


def _draw_split(
    folder: Path,
    split: str,
    scenes: list[Scene],
    words: list[str],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Save a split's pictures; give its features, captions, indices, file names."""
    names = [f"{split}_{i:05d}.png" for i in range(len(scenes))]
    features = []
    for scene, name in zip(scenes, names, strict=True):
        picture = render(scene, rng)
        Image.fromarray(picture).save(folder / "images" / name)
        features.append(grid_features(picture))
    ids = {word: index for index, word in enumerate(words)}
    told = [[encode(c, ids) for c in captions(scene)] for scene in scenes]
    indices = np.repeat(np.arange(len(scenes)), len(told[0]))
    return np.stack(features), np.concatenate(told), indices, names


def encode(caption: str, ids: dict[str, int]) -> np.ndarray:
    """Turn a sentence into ids: `<START>`, its words, `<END>`, then `<NULL>`."""
    words = ["<START>", *caption.split(), "<END>"]
    words += ["<NULL>"] * (MAX_WORDS - len(words))
    return np.array([ids[word] for word in words])
