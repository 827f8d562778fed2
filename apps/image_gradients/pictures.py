"""How does a picture file become what the network reads, and back?

A picture is cut and scaled as torchvision's evaluation does it (the shorter side to
256, of that the middle 224 x 224), in one step, so that a strip of a million pixels by
eight fits into memory. One that has the network's size already is taken as it is: what
`save` wrote, `read` gives back.

Glossary of shapes: N batch, (H, W) picture; pixels have red, green and blue last,
normalised pictures have them first.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from apps.errors import UserError
from apps.files import whole_file
from apps.image_gradients.squeezenet import CLASSES

T = TypeVar("T")

# Of ImageNet's pictures, for red, green and blue.
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])

SIDE = 224
SHARE = 224 / 256  # of the shorter side is looked at

SMALLEST = 8  # pixels; below, there is nothing to see
LARGE = 10e6  # pixels; from here on a note says so
HUGE = 50e6  # pixels; from here on a JPEG is decoded at a fraction of its size

NAME_LENGTH = 24  # what a caption has room for

# Not all that Pillow knows: some of its formats start other programs, or take any file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
GREY = ("1", "L", "LA")

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

    `name` is short, for captions; `notes` say what was done to the file's picture that
    its owner should know; `label` is its true class, where that is known.

    Shapes: pixels (H, W, 3) uint8.
    """

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    label: int | None = None
    path: Path | None = None


def read(path: Path | str, side: int = SIDE) -> Picture:
    """Read a picture file, whatever its size and kinds of colour.

    Raises: UserError if it cannot be read, or is too small or too large.
    """
    path = Path(path)
    notes: list[str] = []
    with _explained(path):
        _check_is_file(path)
        with Image.open(path, formats=_formats()) as image:
            _check_size(image.size, path)
            _load(image, side, notes)
            seen = _centre(_to_colour(image, notes), side, notes)
            pixels = np.asarray(_on_white(seen, notes))
    return Picture(_shortened(path.stem), pixels, tuple(notes), path=path)


def read_many(paths: Iterable[Path | str], side: int = SIDE) -> list[Picture]:
    """Read picture files, the pictures in folders, and arrays (.npz).

    Raises: UserError that tells everything that cannot be read, not the first only.
    """
    faults: list[str] = []
    places = [Path(path) for path in paths]
    if not places:
        raise UserError(
            "no picture was given. Give one by --image: a file, or a folder of them."
        )
    files = [file for place in places for file in _gather(faults, _expand, place)]
    # A folder and a picture in it may both be given.
    pictures = [
        picture
        for file in dict.fromkeys(files)
        for picture in _gather(faults, lambda file: _read_any(file, side), file)
    ]
    if len(faults) > 1:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        raise UserError(f"{len(faults)} of the pictures cannot be used:{lines}")
    if faults:
        raise UserError(faults[0])
    return pictures


def read_npz(
    path: Path | str, count: int | None = None, side: int = SIDE
) -> list[Picture]:
    """Read pictures and their classes from arrays, laid out as cs231n's of ImageNet.

    Of the file, `X` (N, H, W, 3) uint8 and `y` (N,) are read, `count` pictures at most.
    Its `label_map` is not: to read it would be to run code from the file.

    Raises: UserError if the file cannot be read, or holds something else.
    """
    path = Path(path)
    with _explained(path):
        _check_is_file(path)
        X, y = _load_arrays(path)
        _check_arrays(X, y, path)
        return [
            _from_array(x, int(label), f"{path.stem}[{number}]", path, side)
            for number, (x, label) in enumerate(zip(X[:count], y[:count], strict=True))
        ]


def samples(side: int = SIDE) -> list[Picture]:
    """Read five photos that come with scikit-image, which itself is not imported.

    Raises: UserError if it is not installed.
    """
    spec = find_spec("skimage")
    folders = spec.submodule_search_locations if spec else None
    folder = Path(folders[0]) / "data" if folders else Path()
    if not all((folder / file).is_file() for _, file, _ in SAMPLES):
        raise UserError(
            "the sample photos come with scikit-image, which is not installed here, or "
            "is a version without them. Install it by: pip install -e '.[look]', or "
            "give pictures of your own by --image."
        )
    return [
        replace(read(folder / file, side), name=name, label=label)
        for name, file, label in SAMPLES
    ]


def normalize(pictures: np.ndarray) -> np.ndarray:
    """Turn 8-bit pictures into what the network reads.

    In memory the channels stay last, as the network's convolutions have them.
    Shapes: (N, H, W, 3) uint8 -> (N, 3, H, W) float32.
    """
    scaled = (pictures / 255.0 - MEAN) / DEVIATION
    return scaled.astype("float32").transpose(0, 3, 1, 2)


def denormalize(pictures: np.ndarray) -> np.ndarray:
    """Turn what the network reads into 8-bit pictures: the nearest that there are.

    Shapes: (N, 3, H, W) -> (N, H, W, 3) uint8.
    Raises: ValueError if a value is not a number.
    """
    if np.isnan(pictures).any():
        raise ValueError(
            "the picture holds values that are not numbers (NaN), which no colour can "
            "show. The steps that made it were too large: make them smaller."
        )
    scaled = pictures.transpose(0, 2, 3, 1) * DEVIATION + MEAN
    return np.rint(255 * scaled.clip(0, 1)).astype("uint8")


def valid_range() -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised values of black and of white: between them lies a picture.

    Shapes: (3, 1, 1) each, float32.
    """
    black, white = normalize(np.array([0, 255], "uint8").repeat(3).reshape(2, 1, 1, 3))
    return black, white


def save(pixels: np.ndarray, path: Path) -> None:
    """Write a picture as PNG, which changes no pixel; whole, or not at all.

    Shapes: (H, W, 3) uint8.
    """
    with whole_file(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, format="PNG")


def _load(image: Image.Image, side: int, notes: list[str]) -> None:
    """Decode a picture, upright; of several in the file, the first."""
    pixels = image.width * image.height
    if pixels >= LARGE:
        notes.append(f"{pixels / 1e6:.1f} megapixels, made smaller")
    if pixels >= HUGE:
        image.draft(None, (4 * side, 4 * side))  # only JPEG can
    turned = _is_turned(image)  # asked first: to load a TIFF turns it
    image.load()
    if turned:
        notes.append("turned as its EXIF data say")
        ImageOps.exif_transpose(image, in_place=True)
    # Photos of telephones have a preview as a second picture, of which none need know.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("the first of several pictures in the file")


def _is_turned(image: Image.Image) -> bool:
    """Whether a picture is to be shown otherwise than it is stored."""
    # What is wrong with the data about a picture does not make the picture wrong, and
    # damaged data raise nearly anything.
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    return False


def _to_colour(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert any kind of colour to red, green and blue; what is transparent stays."""
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image, notes)
    if image.mode in GREY:
        notes.append("grey, shown as colour")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _to_eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale 16-bit grey; stretch measurements, whose range no format tells."""
    values = np.asarray(image)
    low, high = 0.0, 65535.0
    if not (image.mode.startswith("I;16") or image.format in ("PNG", "PPM")):
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
        notes.append(f"stretched: {low:g} became black, {high:g} white")
    levels = np.subtract(values, low, dtype="float64")
    levels *= 255 / ((high - low) or 1.0)
    levels = np.nan_to_num(levels, copy=False, posinf=255, neginf=0).clip(0, 255)
    return Image.fromarray(np.rint(levels).astype("uint8"))


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """Put what is transparent on white, as most viewers show it."""
    if image.mode == "RGB" or image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append("transparent parts were put on white")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _centre(image: Image.Image, side: int, notes: list[str]) -> Image.Image:
    """Cut out the middle and scale it, in one step."""
    width, height = image.size
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


def _from_array(
    x: np.ndarray, label: int, name: str, path: Path, side: int
) -> Picture:
    _check_size((x.shape[1], x.shape[0]), path)
    notes: list[str] = []
    pixels = np.asarray(_centre(Image.fromarray(x), side, notes))
    return Picture(_shortened(name), pixels, tuple(notes), label, path)


def _read_any(path: Path, side: int) -> list[Picture]:
    """Read what a file holds: one picture, or arrays of many."""
    if path.suffix.lower() == ".npz":
        return read_npz(path, side=side)
    return [read(path, side)]


def _expand(path: Path) -> list[Path]:
    """Return a file itself; of a folder, its pictures by name, hidden ones left out.

    Raises: UserError if a folder has none.
    """
    if not os.path.isdir(path):
        return [path]
    known = Image.registered_extensions()
    with _explained(path):
        files = [
            file
            for file in sorted(path.iterdir())
            if known.get(file.suffix.lower()) in FORMATS
            and not file.name.startswith(".")
            and file.is_file()
        ]
    if not files:
        raise UserError(
            f"{path} is a folder without pictures (.jpg, .png and the like; folders "
            "inside it are not looked through). Name the folder that holds them."
        )
    return files


def _gather(
    faults: list[str], work: Callable[[Path], list[T]], path: Path
) -> list[T]:
    """Return what the work finds; if it fails, nothing, and remember why."""
    try:
        return work(path)
    except UserError as error:
        faults.append(str(error))
        return []


def _formats() -> list[str]:
    """Of the formats, those that this Pillow can read."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _shortened(name: str) -> str:
    """Make a name fit a caption; what cannot be shown becomes a question mark."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= NAME_LENGTH else shown[: NAME_LENGTH - 1] + "…"


def _load_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Opened here: NumPy leaves open what turns out to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("X", "y") if name in arrays}
    except OSError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} is damaged, or is no .npz file of numbers. Copy or download it "
            "again, or write it with NumPy's savez."
        ) from error
    for name in ("X", "y"):
        if name not in found:
            raise UserError(
                f"{path} has no array {name}. It must hold X, the pictures "
                "(N, H, W, 3), and y, their classes (N,)."
            )
    return found["X"], found["y"]


def _check_arrays(X: np.ndarray, y: np.ndarray, path: Path) -> None:
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[3] != 3 or not len(X):
        raise UserError(
            f"X in {path} is {X.dtype} {X.shape}. It must hold pictures: uint8 "
            "(N, H, W, 3), at least one, red, green and blue last."
        )
    if y.dtype.kind not in "iu" or y.shape != X.shape[:1]:
        raise UserError(
            f"y in {path} is {y.dtype} {y.shape}. It must hold one whole number for "
            f"each picture of X: integers ({len(X)},)."
        )
    if y.min() < 0 or y.max() >= CLASSES:
        raise UserError(
            f"y in {path} goes from {y.min()} to {y.max()}, but ImageNet's classes go "
            f"from 0 to {CLASSES - 1}. Number the classes as ImageNet does."
        )


def _check_is_file(path: Path) -> None:
    # A pipe would be waited for forever.
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise UserError(f"{path} is {kind}, not a picture. Name a picture file.")


def _check_size(size: tuple[int, int], path: Path) -> None:
    if min(size) < SMALLEST:
        raise UserError(
            f"{path} is {size[0]} x {size[1]} pixels: there is nothing to see below "
            f"{SMALLEST} x {SMALLEST}. Give a larger one, best {SIDE} x {SIDE} or more."
        )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into what its owner can do about it."""
    try:
        with warnings.catch_warnings():
            # About oddities in the file; the picture comes out all the same.
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:
        # Not narrower: damaged files make the readers raise nearly anything.
        raise UserError(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no file {path.absolute()}. Check its name and folder."
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{path} cannot be read: {error.strerror}. Check its name, and that you "
            "may read it."
        )
    if os.path.getsize(path) == 0:
        return f"{path} is empty (0 bytes). Copy or download it again."
    if isinstance(error, (Image.DecompressionBombError, MemoryError)):
        return (
            f"{path} is too large for the memory, or pretends to be. Make it smaller "
            "in a picture program: 1,000 x 1,000 pixels are plenty."
        )
    if isinstance(error, UnidentifiedImageError):
        return (
            f"{path} is none of the pictures that can be read here "
            f"({', '.join(_formats())}), or is damaged. Save it as JPEG or PNG in a "
            "picture program."
        )
    return (
        f"{path} is damaged: {str(error) or type(error).__name__}. Copy or download it "
        "again; or, if a picture program still opens it, save it anew from there."
    )
