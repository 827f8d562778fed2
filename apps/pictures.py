"""The reader of picture files: upright pictures in colour.

Pillow decodes. Around it, formats are allowed by name, what a file says that its
picture takes is checked before memory is set aside, and whatever a damaged file raises
becomes one message with the file's name.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from apps.errors import UserError
from minigrad.io.damaged import reason
from minigrad.io.errors import TooLargeError
from minigrad.io.limits import check_size, in_words, is_about_memory

# Not all that Pillow knows: some of its formats start other programs, or take any file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
GREY = ("1", "L", "LA")
# Of these, pixels can be mixed as they are stored.
MIXED = ("L", "LA", "RGB", "RGBA")

LIMIT = 2**28  # bytes: more of the memory than 256 MiB no picture takes, nor its file
LARGE = 10e6  # pixels; from here on a note says so
HUGE = 50e6  # pixels; from here on a JPEG is decoded at a fraction of its size
SCANS = 1e9  # pixels; a JPEG of several scans may have so many in all of them

# Bytes a pixel while a file is decoded, measured with Pillow 13 and rounded up; where
# there is nothing, the decoder needs the picture alone.
DECODERS = {"AVIF": 20, "JPEG2000": 28, "WEBP": 18}

# How a stored picture becomes upright, by what its EXIF data call its orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SAVE = "Save it as JPEG or PNG in a picture program."
SMALLER = "Make it smaller in a picture program: 1,000 x 1,000 pixels are plenty."
TURNED = "turned as its EXIF data say"
ROWS = 64  # of a picture of numbers that are made levels at once

# What makes a picture smaller, and may note down what is lost.
Fit = Callable[[Image.Image, list[str]], Image.Image]


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright picture in RGB; `notes` say what was done to make it one."""

    image: Image.Image
    notes: tuple[str, ...]


def read(path: Path | str, fit: Fit, enough: int) -> Photo:
    """Read a picture file, whatever its size and kinds of colour.

    `fit` makes it smaller; of a very large JPEG, `enough` pixels a side do for it.
    Raises: UserError if the file cannot be read, or would take too much memory.
    """
    path = Path(path)
    notes: list[str] = []
    with explained(path):
        check_is_file(path)
        with path.open("rb") as file:
            _check_head(file, path)
            with Image.open(file, formats=formats()) as image:
                pixels = image.width * image.height
                if pixels >= LARGE:
                    notes.append(f"{pixels / 1e6:.1f} megapixels, made smaller")
                if _turned_by_pillow(image):
                    notes.append(TURNED)
                _load(image, file, path, enough)
                upright = _upright(image, path, notes)
                # Photos of telephones have a preview, of which none need know.
                if image.format != "MPO" and getattr(image, "is_animated", False):
                    notes.append("the first of several pictures in the file")
                seen = fit(_to_colours(upright, notes), notes)
        return Photo(_on_white(seen, notes), tuple(notes))


def formats() -> list[str]:
    """Of the formats, those that this Pillow can read."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def check_is_file(path: Path) -> None:
    """Raise a UserError if a path is something else than a file."""
    # A pipe would be waited for forever.
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise UserError(f"{path} is {kind}, not a picture. Name a picture file.")


def check_memory(count: float, size: tuple[int, int], path: Path) -> None:
    """Raise a UserError if a picture, which takes so many bytes, must not be read."""
    needed, pixels = int(count), f"{size[0]:,} x {size[1]:,} pixels"
    if needed > LIMIT:
        raise UserError(
            f"{path} has {pixels}, which take {in_words(needed)} of memory to read; no "
            f"picture may take more than {in_words(LIMIT)}. {SMALLER}"
        )
    try:
        check_size(needed, f"{path} has {pixels}, and to read them")
    except TooLargeError as error:
        raise UserError(f"{error}.") from error


def _check_head(file: BinaryIO, path: Path) -> None:
    """Check what Pillow sets memory aside for when it opens a file."""
    length = os.fstat(file.fileno()).st_size
    if length == 0:
        raise UserError(f"{path} is empty (0 bytes). Copy or download it again.")
    if length > LIMIT:
        raise UserError(
            f"{path} is a file of {in_words(length)}; of a picture at most "
            f"{in_words(LIMIT)} are read. {SAVE}"
        )
    head = file.read(30)
    file.seek(0)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        size = _webp_size(head)
        check_memory(size[0] * size[1] * DECODERS["WEBP"], size, path)
    elif head[:4] == b"\x89PNG":
        # Those behind the pixels, Pillow reads past.
        with Image.open(file, formats=["PNG"]) as image:
            image.verify()
        file.seek(0)
    elif head[:3] == b"GIF":
        size = struct.unpack_from("<HH", head, 6)
        check_memory(2 * size[0] * size[1], size, path)


def _webp_size(head: bytes) -> tuple[int, int]:
    """The size that a WebP's first 30 bytes say. Source: RFC 9649, 2.5 to 2.7."""
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        return width + 1, height + 1
    if head[12:16] == b"VP8L":
        both = int.from_bytes(head[21:25], "little")
        return (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(head[i : i + 2], "little") for i in (26, 28))
    return width & 0x3FFF, height & 0x3FFF


def _load(image: Image.Image, file: BinaryIO, path: Path, enough: int) -> None:
    size = image.size
    beside = _bytes_beside(image, file, path)
    if image.width * image.height >= HUGE:
        image.draft(None, (enough, enough))  # only JPEG can
    each = max(_bytes_afterwards(image), DECODERS.get(image.format or "", 0))
    if _turned_by_pillow(image):
        each += _stored_bytes(image.mode)
    check_memory(beside + image.width * image.height * each, size, path)
    image.load()


def _bytes_afterwards(image: Image.Image) -> int:
    """How many bytes a pixel takes until the picture is upright and in colour."""
    stored = _stored_bytes(image.mode)
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return stored
    if image.mode.startswith(("I", "F")):
        return stored + 2  # the levels, and their picture
    # Converted, and once more to mix what is transparent.
    return stored + 8


def _stored_bytes(mode: str) -> int:
    if mode.startswith("I;16"):
        return 2
    return 1 if mode in ("1", "L", "P") else 4


def _bytes_beside(image: Image.Image, file: BinaryIO, path: Path) -> float:
    """How many bytes a decoder takes beside the picture that it writes."""
    if image.format == "TIFF":
        return _largest_part(image)
    if image.format not in ("JPEG", "MPO"):
        return 0
    place = file.tell()
    scans, pixels = _scans(file), image.width * image.height
    file.seek(place)
    if scans == 1:
        return 0
    if scans * pixels > SCANS:
        raise UserError(
            f"{path} has {image.width:,} x {image.height:,} pixels in {scans:,} scans, "
            f"which would take minutes to read. {SAVE}"
        )
    # Of 16 bits each; colours may be sampled more coarsely.
    samples = [h * v for _, h, v, _ in getattr(image, "layer", [])]
    return 2 * pixels * sum(samples) / max(samples, default=1)


def _largest_part(image: Image.Image) -> float:
    """How many bytes the largest strip or tile of a TIFF may have, unpacked."""
    tags = _tags(image)
    bits = tags.get(ExifTags.Base.BitsPerSample, (1,))
    if len(bits) == 1:
        bits *= tags.get(ExifTags.Base.SamplesPerPixel, 1)
    rows = min(image.height, tags.get(ExifTags.Base.RowsPerStrip, image.height))
    width = tags.get(ExifTags.Base.TileWidth, image.width)
    length = tags.get(ExifTags.Base.TileLength, rows)
    return width * length * sum(bits) / 8


def _scans(file: BinaryIO) -> int:
    """How many scans a JPEG has, or 1 for all in one. Source: ITU-T T.81, annex B."""
    file.seek(0)
    content = file.read()
    place, components = 2, b""
    while content[place : place + 1] == b"\xff":
        marker, body = content[place + 1 : place + 2], content[place + 4 : place + 10]
        if marker == b"\xda":
            if body[:1] == components:
                return 1
            break
        if marker in (b"\xc0", b"\xc1"):
            components = body[5:]
        filled = marker == b"\xff"
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        place += 1 if filled else 2 + length
    # Within a scan no such marker stands.
    return max(2, content.count(b"\xff\xda", place))


def _turned_by_pillow(image: Image.Image) -> bool:
    """Whether Pillow will turn a picture while it loads it, as it does with a TIFF."""
    return _tags(image).get(ExifTags.Base.Orientation) in TURNS


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return getattr(image, "tag_v2", {})


def _upright(image: Image.Image, path: Path, notes: list[str]) -> Image.Image:
    turn = None
    # Damaged data about a picture raise nearly anything, and do not make it wrong.
    with contextlib.suppress(Exception):
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is None:
        return image
    pixels = image.width * image.height
    check_memory(2 * pixels * _stored_bytes(image.mode), image.size, path)
    notes.append(TURNED)
    return image.transpose(turn)


def _to_colours(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert what cannot be made smaller as it is stored; see-through parts stay."""
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image, notes)
    if image.mode in GREY:
        notes.append("grey, shown as colour")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    if image.mode in MIXED and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _to_eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale 16-bit grey; stretch measurements, whose range no format tells."""
    low, high = 0.0, 65535.0
    if not (image.mode.startswith("I;16") or image.format in ("PNG", "PPM")):
        low, high = _range(image)
        notes.append(f"stretched: {low:g} became black, {high:g} white")
    grey = Image.new("L", image.size)
    for top, values in _strips(image):
        values -= low
        values *= 255 / ((high - low) or 1.0)
        np.nan_to_num(values, copy=False, posinf=255, neginf=0)
        levels = np.rint(values.clip(0, 255)).astype("uint8")
        grey.paste(Image.fromarray(levels), (0, top))
    return grey


def _range(image: Image.Image) -> tuple[float, float]:
    """The least and the largest number of a picture; 0 and 65535 if it has none."""
    finite = (values[np.isfinite(values)] for _, values in _strips(image))
    ends = [(v.min(initial=np.inf), v.max(initial=-np.inf)) for v in finite]
    lows, highs = zip(*ends, strict=True)
    found = float(min(lows)), float(max(highs))
    return found if found[0] <= found[1] else (0.0, 65535.0)


def _strips(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    """Rows as floats (ROWS or fewer, W), each time with the number of the first."""
    # Each holds all numbers that are stored.
    wide = "float32" if image.mode.startswith("I;16") else "float64"
    for top in range(0, image.height, ROWS):
        box = (0, top, image.width, min(top + ROWS, image.height))
        yield top, np.asarray(image.crop(box)).astype(wide)


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """Put what is transparent on white, as most viewers show it."""
    if image.mode in ("L", "RGB") or image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append("transparent parts were put on white")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Tell what goes wrong with a file, and the way out. Raises: UserError."""
    try:
        # About oddities in the file; the picture comes out all the same.
        with warnings.catch_warnings(action="ignore"):
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
        way_out = "Check its name, and that you may read it."
        return f"{path} cannot be read: {error.strerror}. {way_out}"
    if isinstance(error, Image.DecompressionBombError):
        pixels, most = (int(count) for count in re.findall(r"\d+", str(error))[:2])
        limit = f"no picture may have more than {most:,}"
        return f"{path} has {pixels:,} pixels; {limit}. {SMALLER}"
    if is_about_memory(error):
        return f"{path} is too large for the memory, or pretends to be. {SMALLER}"
    if isinstance(error, UnidentifiedImageError):
        known = f"the pictures that can be read here ({', '.join(formats())})"
        return f"{path} is none of {known}, or is damaged. {SAVE}"
    return (
        f"{path} is damaged: {reason(error)}. Copy or download it again; or, if a "
        "picture program still opens it, save it anew from there."
    )
