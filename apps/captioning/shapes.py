"""Drawn scenes: pictures and captions that need no download.

A scene is two or three coloured shapes, small or large. Scenes, pictures, five true
captions each, and features follow from one seed. The files are those that `data` reads,
and two more for each split:

- `{train,val}2014_scenes.json`: for each picture its things, the first one the one that
  captions relate to the others (colour, shape, centre x and y, radius in pixels);
- `{train,val}2014_masks.h5`: `masks` (P, 3, SIZE, SIZE) bool, which pixels each thing
  covers, in the same order; none where there is no third thing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from apps.captioning import grammar
from apps.captioning.grammar import OPPOSITES, SHAPES, Kind, Scene, Thing
from apps.captioning.layout import (
    END,
    NULL,
    SPECIAL_WORDS,
    START,
    DataError,
    write_folder,
)
from apps.files import whole_folder
from apps.texts import read_json
from minigrad.io.damaged import reading

COLOURS = {
    "red": (0.84, 0.19, 0.15),
    "green": (0.20, 0.63, 0.27),
    "blue": (0.16, 0.38, 0.80),
    "yellow": (0.95, 0.80, 0.15),
    "purple": (0.55, 0.24, 0.68),
}
RADII = {"small": (6.0, 7.5), "large": (10.5, 12.0)}  # pixels
MOST_THINGS = 3

SIZE = 64  # pixels a side
MAX_WORDS = 17  # ids a caption, as in the cs231n files
TRAIN_SCENES, VAL_SCENES = 6000, 500
HELD_OUT = 6  # one in so many kinds is never shown in training
# Where centres lie: this far from a side, or about the middle between two. The relation
# is never in doubt, and nothing touches.
NEAR, MIDDLE = (13.5, 18.0), (27.0, 37.0)  # pixels

HUES = 8  # hues told apart by the features
EDGES = 6  # directions of edges told apart
CELLS = 4  # grid cells a side
FAINT = 1.0  # edges that weak count half; a thing's have 1 to 13, noise has 0.03


def mask(thing: Thing) -> np.ndarray:
    """How much of each pixel a thing covers. Shapes: -> (SIZE, SIZE), 0 to 1."""
    places = np.arange(SIZE) + 0.5
    x, y = places[None, :] - thing.x, places[:, None] - thing.y
    r = thing.radius
    # How far each pixel's centre lies outside the shape.
    if thing.shape == "circle":
        outside = np.hypot(x, y) - r
    elif thing.shape == "square":
        outside = np.maximum(abs(x), abs(y)) - 0.89 * r
    else:
        outside = np.maximum(y - r, (2 * abs(x) - (y + r)) / np.sqrt(5))
    return (0.5 - outside).clip(0, 1)


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw a scene on bright paper with a little noise. Shapes: -> (SIZE, SIZE, 3)."""
    picture = np.full((SIZE, SIZE, 3), 0.93)
    for thing in scene.things:
        covered = mask(thing)[:, :, None]
        picture = picture * (1 - covered) + covered * np.array(COLOURS[thing.colour])
    picture += rng.normal(scale=0.01, size=picture.shape)
    return np.round(255 * picture.clip(0, 1)).astype(np.uint8)


def held_out_kinds(rng: np.random.Generator) -> set[Kind]:
    """Choose which kinds training never shows: as many of "left of" as of "above"."""
    names = list(product(COLOURS, SHAPES))
    pairs = [(a, b) for a, b in product(names, names) if a[0] != b[0]]
    held: set[Kind] = set()
    for told in ("left of", "above"):
        chosen = rng.permutation(len(pairs))[: len(pairs) // HELD_OUT]
        held |= {(*pairs[i][0], told, *pairs[i][1]) for i in chosen}
    return held


def training_scene(held: set[Kind], rng: np.random.Generator) -> Scene:
    """Make up a scene in which no two things show a kind that is held out."""
    while True:
        scene = _any_scene(_two_or_three(rng), rng)
        if not scene.all_kinds & held:
            return scene


def validation_scene(held: set[Kind], rng: np.random.Generator) -> Scene:
    """Make up a scene of which every caption tells held-out kinds and no other."""
    count = _two_or_three(rng)
    while True:
        scene = _any_scene(count, rng)
        if scene.kinds <= held:
            return scene


def place(
    names: Sequence[tuple[str, str]], told: str, rng: np.random.Generator
) -> Scene:
    """Place things so that the first stands in a relation to the others.

    The first is at the middle of one side; one other is opposite, or two are in the
    opposite corners, in random order.
    """
    bounds = [RADII[grammar.SIZES[i]] for i in rng.integers(2, size=len(names))]
    radii = rng.uniform(*np.transpose(bounds))
    along = rng.uniform(*NEAR, size=len(names))
    along[1:] = SIZE - along[1:]
    across = rng.uniform(*MIDDLE, size=len(names))
    if len(names) == 3:
        near, far = rng.uniform(*NEAR, size=2)
        across[1:] = rng.permutation([near, SIZE - far])
    if told in ("right of", "below"):
        along = SIZE - along
    x, y = (along, across) if told in ("left of", "right of") else (across, along)
    numbers = np.round(np.stack([x, y, radii], axis=1), 2).tolist()
    return Scene(tuple(Thing(*n, *xyr) for n, xyr in zip(names, numbers, strict=True)))


def _any_scene(count: int, rng: np.random.Generator) -> Scene:
    colours = rng.permutation(list(COLOURS))[:count].tolist()
    shapes = rng.choice(SHAPES, size=count).tolist()
    told = list(OPPOSITES)[rng.integers(len(OPPOSITES))]
    return place(list(zip(colours, shapes, strict=True)), told, rng)


def _two_or_three(rng: np.random.Generator) -> int:
    return int(rng.integers(2, MOST_THINGS + 1))


def ensure(folder: Path, seed: int = 0) -> Path:
    """Draw the set into a folder, unless it is there already; give the folder.

    Raises: DataError if the folder holds something else.
    """
    if folder.exists():
        load_scenes(folder, "val")  # an older version's set lacks them
        return folder
    with whole_folder(folder, wait=True) as unfinished:
        if not folder.exists():  # another process may have drawn it meanwhile
            make(unfinished, seed)
    return folder


def make(
    folder: Path, seed: int = 0, scenes: tuple[int, int] = (TRAIN_SCENES, VAL_SCENES)
) -> None:
    """Draw so many training and validation scenes, with no kind of scene in common."""
    rng = np.random.default_rng(seed)
    held = held_out_kinds(rng)
    words = [*SPECIAL_WORDS, *grammar.vocabulary()]
    (folder / "images").mkdir(parents=True)
    splits = {}
    for split, maker, count in zip(
        ("train", "val"), (training_scene, validation_scene), scenes, strict=True
    ):
        drawn = [maker(held, rng) for _ in range(count)]
        _write_scenes(folder, split, drawn)
        splits[split] = _write_pictures(folder, split, drawn, words, rng)
    write_folder(folder, words, splits)


def scenes_file(split: str) -> str:
    """Name the file that tells what a split's pictures show."""
    return f"{split}2014_scenes.json"


def are_drawn(folder: Path, split: str) -> bool:
    """Whether a split's pictures were drawn here, so that their scenes are known."""
    return os.path.lexists(folder / scenes_file(split))


def load_scenes(folder: Path, split: str, pictures: int | None = None) -> list[Scene]:
    """Read what a split's pictures show; where it is known, that many.

    Raises: DataError for a folder that was not drawn here, or not by this version.
    """
    path = folder / scenes_file(split)
    content = read_json(path, "scenes", DataError)
    way_out = "If it is of an earlier version, delete the folder to have it drawn again"
    with reading(path, "what drawn pictures show", DataError, way_out):
        scenes = [_scene(things) for things in content]
        if pictures not in (None, len(scenes)):
            raise ValueError(f"it has {len(scenes):,} scenes for {pictures:,} pictures")
        return scenes


def _scene(things: Sequence[dict[str, Any]]) -> Scene:
    scene = Scene(tuple(Thing(**thing) for thing in things))
    if not 2 <= len(scene.things) <= MOST_THINGS:
        raise ValueError(f"a scene in it has {len(scene.things)} things")
    for thing in scene.things:
        numbers = (thing.x, thing.y, thing.radius)
        placed = all(type(n) in (int, float) and 0 < n < SIZE for n in numbers)
        if not placed or thing.colour not in COLOURS or thing.shape not in SHAPES:
            raise ValueError(f"{asdict(thing)!r:.100} in it is nothing that is drawn")
    return scene


def _write_scenes(folder: Path, split: str, scenes: Sequence[Scene]) -> None:
    lines = [json.dumps([asdict(t) for t in scene.things]) for scene in scenes]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (folder / scenes_file(split)).write_text(text, encoding="utf-8")
    masks = np.zeros((len(scenes), MOST_THINGS, SIZE, SIZE), dtype=bool)
    for covered, scene in zip(masks, scenes, strict=True):
        covered[: len(scene.things)] = [mask(thing) >= 0.5 for thing in scene.things]
    with h5py.File(folder / f"{split}2014_masks.h5", "w") as file:
        file.create_dataset("masks", data=masks, compression="gzip")


def _write_pictures(
    folder: Path,
    split: str,
    scenes: Sequence[Scene],
    words: list[str],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Save a split's pictures; give its features, captions, indices, file names."""
    names = [f"{split}_{i:05d}.png" for i in range(len(scenes))]
    features = []
    for scene, name in zip(scenes, names, strict=True):
        picture = render(scene, rng)
        # Noise hardly shrinks: the quickest level makes files as small.
        Image.fromarray(picture).save(folder / "images" / name, compress_level=1)
        features.append(grid_features(picture))
    ids = {word: index for index, word in enumerate(words)}
    told = [caption for scene in scenes for caption in grammar.captions(scene)]
    captions = np.full((len(told), MAX_WORDS), ids[NULL])
    for row, caption in zip(captions, told, strict=True):
        said = [START, *caption.split(), END]
        row[: len(said)] = [ids[word] for word in said]
    indices = np.repeat(np.arange(len(scenes)), len(grammar.WORDINGS))
    return np.stack(features), captions, indices, names


def grid_features(picture: np.ndarray) -> np.ndarray:
    """Histograms of hues in a fixed grid, and of the edges that each hue has.

    First, for each of 4 x 4 cells, the square root of the mean of each of HUES evenly
    spaced hues, so that small things count. Then, for each hue, how its edges in the
    whole picture are shared between EDGES evenly spaced directions, as a vector of
    length 1, or less where there is next to nothing.

    Shapes: picture (SIZE, SIZE, 3) uint8 -> (16 * HUES + HUES * EDGES,) float32.
    Source: histograms of hue and of oriented gradients, as in CS231n's exercise on
    features; Dalal, Triggs, Histograms of Oriented Gradients for Human Detection
    (2005), section 6.4 for the normalisation (L2).
    """
    red, green, blue = np.moveaxis(picture / 255.0, 2, 0)
    # The cube of colours, seen along its grey axis.
    across, up = red - (green + blue) / 2, np.sqrt(0.75) * (green - blue)
    chroma = np.hypot(across, up)
    hues = chroma[:, :, None] * _split(np.arctan2(up, across), 2 * np.pi, HUES)
    width = SIZE // CELLS
    cells = hues.reshape(CELLS, width, CELLS, width, HUES).mean(axis=(1, 3))
    down, across = np.gradient(chroma)
    steep = np.hypot(across, down)[:, :, None]
    directions = steep * _split(np.arctan2(down, across), np.pi, EDGES)
    # For each hue and direction, a sum over pixels.
    edges = hues.reshape(-1, HUES).T @ directions.reshape(-1, EDGES)
    edges /= np.linalg.norm(edges, axis=1, keepdims=True) + FAINT
    return np.concatenate([np.sqrt(cells).ravel(), edges.ravel()], dtype=np.float32)


def _split(angle: np.ndarray, turn: float, bins: int) -> np.ndarray:
    """Weights of the two nearest of evenly spaced angles; 1 together.

    Shapes: angle (...), of period `turn` -> (..., bins).
    """
    place = (angle * (bins / turn) % bins)[..., None]
    below = np.floor(place).astype(int)
    weights = np.zeros((*angle.shape, bins))
    np.put_along_axis(weights, below % bins, below + 1 - place, axis=-1)
    np.put_along_axis(weights, (below + 1) % bins, place - below, axis=-1)
    return weights
