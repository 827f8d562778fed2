"""Pictures: from files to what the network reads, and back.

A picture is cut and scaled as torchvision's evaluation does it (the shorter side to
256, of that the middle 224 x 224), but in one step, so that even a long strip fits into
memory. `read` gives back what `save` wrote.

Glossary of shapes: N batch, (H, W) picture; pixels have red, green and blue last,
normalised pictures have them first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from apps import pictures as files
from apps.errors import UserError
from apps.files import whole_file
from apps.image_gradients.arrays import read_arrays

T = TypeVar("T")

# Of ImageNet's pictures, for red, green and blue.
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])

SIDE = 224
SHARE = 224 / 256  # of the shorter side is looked at
SMALLEST = 8  # pixels; below, there is nothing to see
LISTED = 20  # files that cannot be read
NAME_LENGTH = 24  # what a caption has room for

# scikit-image's photos: name, file, its class of ImageNet where there is one.
SAMPLES = (
    ("cat", "chelsea.png", 281),
    ("coffee", "coffee.png", 967),
    ("motorcycle", "motorcycle_left.png", None),
    ("rocket", "rocket.jpg", None),
    ("tripod", "camera.png", 872),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the network sees it, before normalising.

    `name` is short, for captions; `notes` say what was done to the file's picture;
    `label` is its true class, where that is known. Shapes: pixels (H, W, 3) uint8.
    """

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    label: int | None = None
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures side by side, as they are and as the network reads them.

    Shapes: pixels (N, H, W, 3) uint8, x (N, 3, H, W) float32.
    """

    names: list[str]
    pixels: np.ndarray
    x: np.ndarray
    labels: list[int | None]
    notes: list[str]

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Batch:
        """Put pictures of one size side by side."""
        pixels = np.stack([p.pixels for p in pictures])
        notes = ["; ".join(p.notes) for p in pictures]
        names, labels = [p.name for p in pictures], [p.label for p in pictures]
        return cls(names, pixels, normalize(pixels), labels, notes)


@dataclass(frozen=True)
class Pictures:
    """Pictures that are read when they are asked for, each time anew, and not kept.

    `notes` say of each, by its name, what was done to it.
    """

    again: Callable[[], Iterator[Picture]]
    notes: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def kept(cls, pictures: Sequence[Picture]) -> Pictures:
        """A few that stay in memory."""
        notes = tuple((picture.name, picture.notes) for picture in pictures)
        return cls(lambda: iter(pictures), notes)

    def __len__(self) -> int:
        return len(self.notes)

    def __iter__(self) -> Iterator[Picture]:
        return self.again()

    def parts(self, size: int) -> Iterator[list[Picture]]:
        """Read so many at a time; the last part may have fewer."""
        pictures = iter(self)
        for _ in range(0, len(self), size):
            yield list(islice(pictures, size))


def read(path: Path | str, side: int = SIDE) -> Picture:
    """Read a picture file. Raises: UserError if it is damaged, too small or large."""
    path = Path(path)
    photo = files.read(path, partial(_centre, side=side, path=path), 4 * side)
    pixels = np.asarray(photo.image)
    return Picture(_shortened(path.stem), pixels, photo.notes, path=path)


def find(
    paths: Iterable[Path | str],
    side: int = SIDE,
    progress: Callable[[int], None] = lambda _: None,
) -> Pictures:
    """Find picture files, the pictures in folders, and arrays (.npz); read each once.

    `progress` is told how many are read. Raises: UserError that tells all faults.
    """
    faults: list[str] = []

    def read_all(path: Path) -> Iterator[Picture]:
        if path.suffix.lower() == ".npz":
            yield from read_npz(path, side)
        else:
            yield read(path, side)

    # A folder and a picture in it may both be given.
    found = list(dict.fromkeys(_gathered(faults, _expand, map(Path, paths))))
    if not found and not faults:
        faults = ["no picture was given. Give one by --image: a file, or a folder."]
    notes = []
    for picture in _gathered(faults, read_all, found):
        notes.append((picture.name, picture.notes))
        progress(len(notes))
    if len(faults) > 1:
        lines = [f"  - {fault}" for fault in faults[:LISTED]]
        more = [f"  ... and {len(faults) - LISTED} more."] * (len(faults) > LISTED)
        faults = [f"{len(faults)} of the pictures cannot be used:", *lines, *more]
    if faults:
        raise UserError(*faults)
    return Pictures(lambda: chain.from_iterable(map(read_all, found)), tuple(notes))


def read_npz(path: Path | str, side: int = SIDE) -> Iterator[Picture]:
    """Read pictures and their classes from arrays, laid out as cs231n's of ImageNet.

    Raises: UserError if the file cannot be read, or holds something else.
    """
    path = Path(path)
    for number, (x, label) in enumerate(read_arrays(path)):
        notes: list[str] = []
        pixels = np.asarray(_centre(Image.fromarray(x), notes, side, path))
        name = _shortened(f"{path.stem}[{number}]")
        yield Picture(name, pixels, tuple(notes), label, path)


def samples(side: int = SIDE) -> list[Picture]:
    """Read scikit-image's photos without importing it. Raises: UserError if missing."""
    spec = find_spec("skimage")
    folders = spec.submodule_search_locations if spec else None
    folder = Path(folders[0]) / "data" if folders else Path()
    if not all((folder / file).is_file() for _, file, _ in SAMPLES):
        raise UserError(
            "scikit-image, with the sample photos, is not installed, or a version "
            "without them. Run pip install -e '.[look]', or give pictures by --image."
        )
    return [
        replace(read(folder / file, side), name=name, label=label)
        for name, file, label in SAMPLES
    ]


def normalize(pictures: np.ndarray) -> np.ndarray:
    """Turn 8-bit pictures into what the network reads.

    Shapes: (N, H, W, 3) uint8 -> (N, 3, H, W) float32, channels last in memory.
    """
    scaled = (pictures / 255.0 - MEAN) / STD
    return scaled.astype("float32").transpose(0, 3, 1, 2)


def denormalize(pictures: np.ndarray) -> np.ndarray:
    """Turn what the network reads into the nearest 8-bit pictures.

    Shapes: (N, 3, H, W) -> (N, H, W, 3) uint8. Raises: ValueError for NaN.
    """
    if np.isnan(pictures).any():
        raise ValueError(
            "the picture holds values that are not numbers (NaN), which no colour can "
            "show. The steps that made it were too large: make them smaller."
        )
    scaled = pictures.transpose(0, 2, 3, 1) * STD + MEAN
    return np.rint(255 * scaled.clip(0, 1)).astype("uint8")


def valid_range() -> tuple[np.ndarray, np.ndarray]:
    """The normalised values of black and of white. Shapes: (3, 1, 1) each, float32."""
    black, white = normalize(np.array([0, 255], "uint8").repeat(3).reshape(2, 1, 1, 3))
    return black, white


def save(pixels: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) uint8 as PNG, whole or not at all."""
    with whole_file(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, format="PNG")


def _centre(image: Image.Image, notes: list[str], side: int, path: Path) -> Image.Image:
    width, height = image.size
    if min(image.size) < SMALLEST:
        raise UserError(
            f"{path} is {width} x {height} pixels: there is nothing to see below "
            f"{SMALLEST} x {SMALLEST}. Give a larger one, best {SIDE} x {SIDE} or more."
        )
    if width == height == side:
        return image
    length = SHARE * min(width, height)
    # From a whole pixel on: a picture that keeps its scale must not be blurred.
    left, top = (width - length) // 2, (height - length) // 2
    seen = length**2 / (width * height)
    if seen < 0.4:  # less than of 16:9
        notes.append(f"only its middle is looked at, {max(seen, 0.01):.0%} of it")
    if side > 2 * length:
        notes.append(f"enlarged from {width} x {height}: expect little")
    box = (left, top, left + length, top + length)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _expand(path: Path) -> Iterator[Path]:
    """A file itself; of a folder, its pictures by name, hidden ones left out."""
    if not os.path.isdir(path):
        yield path
        return
    kinds = Image.registered_extensions()
    with files.explained(path):
        found = [
            file
            for file in sorted(path.glob("[!.]*"))
            if kinds.get(file.suffix.lower()) in files.FORMATS and file.is_file()
        ]
    if not found:
        raise UserError(
            f"{path} is a folder without pictures (.jpg, .png and the like; folders "
            "inside it are not looked through). Name the folder that holds them."
        )
    yield from found


def _gathered(
    faults: list[str], work: Callable[[Path], Iterator[T]], paths: Iterable[Path]
) -> Iterator[T]:
    """Give what the work finds; where it fails, add why to the faults."""
    for path in paths:
        try:
            yield from work(path)
        except UserError as error:
            faults.append(str(error))


def _shortened(name: str) -> str:
    """Make a name fit a caption; what cannot be shown becomes a question mark."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= NAME_LENGTH else shown[: NAME_LENGTH - 1] + "…"
