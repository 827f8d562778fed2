"""Does one reader make an upright picture in colour of every file, or a clear error?"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import (
    EpsImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    features,
)

from apps import pictures
from apps.errors import UserError
from tests.apps import odd_pictures
from tests.apps.odd_pictures import noise, write

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Formats that this Pillow reads and writes, and how without loss.
FORMATS = {"BMP": {}, "GIF": {}, "JPEG": {}, "PNG": {}, "PPM": {}, "TIFF": {}}
FORMATS |= {"WEBP": {"lossless": True}} if features.check("webp") else {}
FORMATS |= {"AVIF": {}} if features.check("avif") else {}
FORMATS |= {"JPEG2000": {}} if features.check("jpg_2000") else {}

# How a picture is stored that is to be turned as the orientation says.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


LARGE = dict(odd_pictures.large())
CROWDED = dict(odd_pictures.crowded())

# Reads all pictures of a folder, and prints how many bytes the process had at most.
PEAK = """
import sys
from pathlib import Path
from apps.errors import UserError
from apps.image_gradients.pictures import read
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read(path)
    except UserError:
        pass
status = Path("/proc/self/status").read_text()  # getrusage counts the parent's too
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(24, 40)).save(file, format=form, **FORMATS[form])
    return file.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples of one property use."""
    return tmp_path_factory.mktemp("pictures")


@dataclass
class Seen:
    """A picture that was read, made square."""

    pixels: np.ndarray
    notes: tuple[str, ...]


def read(path: Path | str, side: int = 56) -> Seen:
    def fit(image: Image.Image, _: list[str]) -> Image.Image:
        size = (side, side)
        return image if image.size == size else image.resize(size)

    photo = pictures.read(path, fit, 4 * side)
    assert photo.image.mode == "RGB"
    return Seen(np.asarray(photo.image), photo.notes)


def refusal(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


# Which kinds of colour are there?


def halves(mode: str, values: Any) -> Image.Image:
    """A picture of 8 x 8, the left half of one value and the right of another."""
    image = Image.new(mode, (8, 8))
    for x, y in np.ndindex(8, 8):
        image.putpixel((x, y), values[x // 4])
    return image


def assert_halves(picture: Seen, left: Any, right: Any, levels: int = 0) -> None:
    expected = np.empty((8, 8, 3))
    expected[:, :4], expected[:, 4:] = left, right
    np.testing.assert_allclose(picture.pixels, expected, rtol=0, atol=levels)


GREY, WHITE = "grey, shown as colour", "transparent parts were put on white"
RED, BLACK = (255, 0, 0), (0, 0, 0)
MODES: dict[str, tuple[str, Any, str, Any, Any, tuple[str, ...]]] = {
    # of, mode, values left and right, file, colours left and right, notes
    "two colours": ("1", (0, 1), "png", BLACK, (255,) * 3, (GREY,)),
    "grey": ("L", (7, 200), "png", (7,) * 3, (200,) * 3, (GREY,)),
    "grey, see-through": (
        "LA",
        ((9, 255), (0, 0)),
        "png",
        (9,) * 3,
        (255,) * 3,
        (GREY, WHITE),
    ),
    "grey of 16 bits": ("I;16", (257, 65535), "png", (1,) * 3, (255,) * 3, (GREY,)),
    "dark grey of 16 bits": ("I;16", (0, 386), "tiff", BLACK, (2,) * 3, (GREY,)),
    "PGM of 16 bits": ("I", (0, 51400), "pgm", BLACK, (200,) * 3, (GREY,)),
    "whole numbers": (
        "I",
        (-100, 900),
        "tiff",
        BLACK,
        (255,) * 3,
        ("stretched: -100 became black, 900 white", GREY),
    ),
    "numbers": (
        "F",
        (0.5, 0.75),
        "tiff",
        BLACK,
        (255,) * 3,
        ("stretched: 0.5 became black, 0.75 white", GREY),
    ),
    "colour": ("RGB", (RED, (1, 2, 3)), "png", RED, (1, 2, 3), ()),
    "opaque": ("RGBA", ((*RED, 255), (1, 2, 3, 255)), "png", RED, (1, 2, 3), ()),
    "see-through": (
        "RGBA",
        ((255, 0, 0, 255), (0, 0, 0, 51)),
        "png",
        RED,
        (204,) * 3,
        (WHITE,),
    ),
    "CMYK": (
        "CMYK",
        ((0, 255, 255, 0), (0, 0, 0, 255)),
        "tiff",
        RED,
        BLACK,
        ("CMYK converted to RGB",),
    ),
    "YCbCr": ("YCbCr", ((76, 85, 255), (0, 128, 128)), "tiff", RED, BLACK, ()),
    "LAB": ("LAB", ((255, 128, 128), (0, 128, 128)), "tiff", (255,) * 3, BLACK, ()),
}


@pytest.mark.parametrize("case", MODES)
def test_every_kind_of_colour_becomes_rgb(tmp_path: Path, case: str):
    mode, values, suffix, left, right, notes = MODES[case]
    path = tmp_path / f"a.{suffix}"
    halves(mode, values).save(path)
    picture = read(path, side=8)
    # Of these, conversion rounds.
    assert_halves(picture, left, right, levels=mode in ("LAB", "YCbCr"))
    assert picture.notes == notes


@pytest.mark.parametrize("alpha", [b"\xff\x00", 1])
def test_palettes_with_a_transparent_colour(tmp_path: Path, alpha: bytes | int):
    image = halves("P", (0, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=alpha)
    picture = read(tmp_path / "a.png", side=8)
    assert_halves(picture, RED, 255)
    assert picture.notes == (WHITE,)


def test_a_colour_that_stands_for_transparent(tmp_path: Path):
    halves("RGB", (RED, BLACK)).save(tmp_path / "a.png", transparency=BLACK)
    assert_halves(read(tmp_path / "a.png", side=8), RED, 255)


def test_scaling_what_is_transparent_mixes_in_no_hidden_colours(tmp_path: Path):
    image = Image.fromarray(np.dstack([noise(300, 300), noise(300, 300, 1)[..., 0]]))
    image.save(tmp_path / "a.png")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    white.convert("RGB").save(tmp_path / "b.png")
    seen, expected = read(tmp_path / "a.png"), read(tmp_path / "b.png")
    assert np.abs(seen.pixels.astype(int) - expected.pixels).max() <= 3


def test_cmyk_jpegs_are_not_negatives(tmp_path: Path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    picture = read(tmp_path / "a.jpg")
    assert np.abs(picture.pixels - np.array([255.0, 0, 0])).max() <= 3
    assert "CMYK converted to RGB" in picture.notes


def test_numbers_that_are_none_are_black_and_infinite_ones_white(tmp_path: Path):
    values = np.zeros((8, 8), "float32")
    values[0, :4] = np.nan, np.inf, -np.inf, 2
    write(tmp_path / "a.tiff", values)
    picture = read(tmp_path / "a.tiff", side=8)
    assert picture.pixels[0, :4, 0].tolist() == [0, 255, 0, 255]
    assert picture.notes[0] == "stretched: 0 became black, 2 white"


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_numbers_that_are_all_the_same_are_black(tmp_path: Path, value: float):
    write(tmp_path / "a.tiff", np.full((8, 8), value, "float32"))
    assert not read(tmp_path / "a.tiff", side=8).pixels.any()


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read(tmp_path: Path, form: str):
    path = tmp_path / "picture.of-some-kind"
    path.write_bytes(encoded(form))
    picture = read(path)
    assert picture.notes == ()


def test_formats_that_this_pillow_lacks_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pictures, "FORMATS", ("OF-TOMORROW", "PNG"))
    assert read(write(tmp_path / "a.png", noise(16, 16))).notes == ()


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_of_several_pictures_the_first_is_read(tmp_path: Path, form: str):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    path = tmp_path / "a"
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:])
    picture = read(path, side=16)
    assert (picture.pixels == RED).all()
    assert picture.notes == ("the first of several pictures in the file",)


def test_the_preview_in_a_telephones_photo_is_not_mentioned(tmp_path: Path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.jpg"
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:])
    picture = read(path, side=16)
    assert picture.pixels[0, 0, 0] > 250
    assert picture.notes == ()


# Which way is up?


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    return exif


@pytest.mark.parametrize("form", [f for f in ("PNG", "TIFF", "WEBP") if f in FORMATS])
@pytest.mark.parametrize("number", STORED)
def test_pictures_are_turned_as_exif_says(tmp_path: Path, number: int, form: str):
    upright = Image.fromarray(noise(300, 401))
    upright.save(tmp_path / "upright.png")
    stored = upright.transpose(STORED[number])
    path = tmp_path / "stored"
    stored.save(path, format=form, exif=orientation(number), **FORMATS[form])
    expected, picture = read(tmp_path / "upright.png"), read(path)
    np.testing.assert_array_equal(picture.pixels, expected.pixels)
    assert expected.notes == ()
    assert picture.notes == ("turned as its EXIF data say",)


@pytest.mark.parametrize("number", STORED)
def test_so_are_jpegs(tmp_path: Path, number: int):
    quarters = np.repeat(np.repeat(noise(2, 2), 160, axis=0), 160, axis=1)
    upright = Image.fromarray(quarters)
    upright.save(tmp_path / "upright.jpg")
    path = tmp_path / "stored.jpg"
    upright.transpose(STORED[number]).save(path, exif=orientation(number))
    expected, picture = read(tmp_path / "upright.jpg"), read(path)
    difference = np.abs(picture.pixels.astype(int) - expected.pixels)
    assert difference.max() <= 3
    assert picture.notes == ("turned as its EXIF data say",)


@pytest.mark.parametrize("exif", [orientation(1), orientation(9), b"Exif\0\0nonsense"])
def test_what_exif_does_not_say_turns_nothing(tmp_path: Path, exif: Any):
    pixels = noise(16, 16)
    picture = read(write(tmp_path / "a.png", pixels, exif=exif), side=16)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.notes == ()


# What cannot be read?


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_a_file_cut_short_is_a_picture_or_an_error_with_a_way_out(
    place: Path, form: str, data: st.DataObject
):
    whole = encoded(form)
    path = place / f"cut.{form.lower()}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    check_read(path)


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_so_is_a_file_with_a_wrong_byte(place: Path, form: str, data: st.DataObject):
    content = bytearray(encoded(form))
    # What tells the size, and how the rest is packed, stands in front.
    end = data.draw(st.sampled_from([64, len(content)]))
    content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path = place / f"wrong.{form.lower()}"
    path.write_bytes(content)
    check_read(path)


def check_read(path: Path) -> None:
    try:
        picture = read(path)
    except UserError as error:
        message = str(error)
    else:
        assert picture.pixels.shape == (56, 56, 3)
        assert picture.pixels.dtype == np.uint8
        return
    assert str(path) in message
    assert message.endswith(".")


@pytest.fixture(scope="module", params=["plain", "turned", "late", "animated"])
def checked_png(request: pytest.FixtureRequest) -> bytes:
    """A PNG, all of which is under checksums."""
    options: dict[str, Any] = {
        "plain": {},
        "turned": {"exif": orientation(6)},
        "late": {},
        "animated": {"save_all": True, "append_images": [Image.new("RGB", (40, 24))]},
    }[request.param]
    file = io.BytesIO()
    Image.fromarray(noise(24, 40)).save(file, format="PNG", **options)
    content, end = file.getvalue(), odd_pictures.chunk(b"IEND", b"")
    if request.param == "late":  # data about the picture stand behind its pixels
        turn = odd_pictures.chunk(b"eXIf", orientation(6).tobytes()[6:])
        content = content.removesuffix(end) + turn + end
    return content


@given(data=st.data())
def test_no_png_with_a_wrong_bit_is_another_picture(
    place: Path, checked_png: bytes, data: st.DataObject
):
    path = place / "whole.png"
    path.write_bytes(checked_png)
    whole = read(path)
    bits = 8 * len(checked_png)
    # Few of them are in front of the pixels and behind them.
    ends = st.integers(0, 800) | st.integers(bits - 800, bits - 1)
    bit = data.draw(ends | st.integers(0, bits - 1))
    content = bytearray(checked_png)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        np.testing.assert_array_equal(read(path).pixels, whole.pixels)


@pytest.mark.parametrize("checked_png", ["late"], indirect=True)
def test_nor_with_a_wrong_bit_behind_its_pixels(tmp_path: Path, checked_png: bytes):
    path = tmp_path / "a.png"
    for bit in range(8 * checked_png.index(b"eXIf"), 8 * (len(checked_png) - 12)):
        content = bytearray(checked_png)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        refusal(path)


def test_damage_is_no_fault_of_exif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow loads a PNG to look for EXIF data, whose faults do not count."""
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "verify", lambda image: None)
    content = bytearray(encoded("PNG"))
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    assert "a.png is damaged: " in refusal(tmp_path / "a.png")


@pytest.mark.parametrize(
    "error",
    [
        EOFError(),
        KeyError("size"),
        MemoryError(),
        RecursionError("maximum recursion depth exceeded"),
        SyntaxError("broken"),
        TypeError("'NoneType' object is not iterable"),
        ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger"),
        ZeroDivisionError("division by zero"),
        lzma.LZMAError("corrupt"),
        struct.error("unpack requires a buffer of 4 bytes"),
        zlib.error("Error -3 while decompressing data"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_reader_raises_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    path = write(tmp_path / "a.png", noise(16, 16))
    for method in ("load", "_open"):
        with monkeypatch.context() as patch:
            patch.setattr(PngImagePlugin.PngImageFile, method, fail)
            text = refusal(path)
        assert text.startswith(f"{path} is ")
        assert text.endswith(".")
        assert "\n" not in text


def test_a_half_downloaded_photo(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG")[:-300])
    assert "is damaged: image file is truncated" in refusal(path)
    assert "Copy or download it again" in refusal(path)


def test_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert refusal("a.png") == (
        f"there is no file {tmp_path / 'a.png'}. Check its name and folder."
    )


def test_a_file_that_the_system_does_not_give(tmp_path: Path):
    text = refusal(tmp_path / ("a" * 300))
    assert "cannot be read: File name too long. Check its name, and that you" in text


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "a.png").touch()
    assert "a.png is empty (0 bytes). Copy or download" in refusal(tmp_path / "a.png")


def test_no_picture(tmp_path: Path):
    (tmp_path / "a.txt").write_text("a picture of a cat")
    text = refusal(tmp_path / "a.txt")
    assert "none of the pictures that can be read here (" in text
    assert "JPEG" in text
    assert "or is damaged. Save it as JPEG or PNG" in text


def test_formats_that_start_programs_are_not_opened(tmp_path: Path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.eps")
    assert "none of the pictures" in refusal(tmp_path / "a.eps")


def test_nor_if_they_are_called_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def start(*_: Any, **__: Any) -> None:
        pytest.fail("a program was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", format="EPS")
    assert "none of the pictures" in refusal(tmp_path / "a.png")


def test_a_folder(tmp_path: Path):
    assert refusal(tmp_path) == (
        f"{tmp_path} is a folder, not a picture. Name a picture file."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    assert "is a pipe or a device, not a picture" in refusal(tmp_path / "a.png")


def test_a_huge_photo_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    smooth = Image.fromarray(noise(5, 8)).resize((1600, 1000))
    path = tmp_path / "a.jpg"
    smooth.save(path, exif=orientation(6))
    decoded = []
    load = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(
        JpegImagePlugin.JpegImageFile,
        "load",
        lambda image: (decoded.append(image.size), load(image))[1],
    )
    whole = read(path, side=56)
    assert decoded[0] == (1600, 1000)
    decoded.clear()
    monkeypatch.setattr(pictures, "HUGE", 1e6)
    fraction = read(path, side=56)
    assert decoded[0] == (400, 250)
    difference = np.abs(whole.pixels.astype(int) - fraction.pixels)
    assert difference.max() <= 6
    assert fraction.notes == (pictures.TURNED,)


# How large may a picture be?


@pytest.mark.parametrize("name", LARGE)
def test_what_says_that_it_is_large_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Its header alone says so, and the message how large, and what to do."""

    def decode(*_: Any, **__: Any) -> None:
        pytest.fail("it was decoded")

    path = tmp_path / name
    path.write_bytes(LARGE[name])
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(Image.Image, "load", decode)
    if "webp" in name:
        monkeypatch.setattr(Image, "open", decode)
    text = refusal(path)
    assert text.startswith(f"{path} has ")
    assert "pixels" in text
    assert re.search(r"take [\d.]+ [GM]B of mem|more than [\d,]+\.|take minutes", text)
    assert "picture program" in text


@pytest.mark.parametrize("name", CROWDED)
def test_what_a_file_holds_besides_is_nothing_or_an_error(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(CROWDED[name])
    check_read(path)


@pytest.mark.skipif(resource is None, reason="this system does not tell of memory")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells it")
def test_odd_files_take_no_memory(tmp_path: Path):
    """All of them, one after the other, in a process that starts small."""
    for name, content in (LARGE | CROWDED).items():
        (tmp_path / name).write_bytes(content)
    found = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    assert int(found.stdout) < 350 * 2**20


def test_a_large_file_is_not_read(tmp_path: Path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.write(encoded("PNG"))
        file.truncate(pictures.LIMIT + 1)  # a hole, which takes no room
    text = refusal(path)
    assert "a.png is a file of 268.4 MB; of a picture at most 268.4 MB are" in text
    assert "Save it as JPEG or PNG" in text


@pytest.mark.parametrize("form", FORMATS)
def test_the_limit_counts_the_bytes_of_a_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    """What a picture takes is at least its pixels, and is refused from there on."""
    path = tmp_path / "a"
    path.write_bytes(encoded(form))
    size = path.stat().st_size
    monkeypatch.setattr(pictures, "LIMIT", size + 40 * 24 * 30)
    read(path)
    stored = 1 if form == "GIF" else 3
    monkeypatch.setattr(pictures, "LIMIT", 40 * 24 * stored - 1)
    assert "40 x 24 pixels, which take" in refusal(path) or size >= pictures.LIMIT


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_the_scans_of_a_jpeg_are_counted(options: dict[str, Any]):
    file = io.BytesIO(odd_pictures.saved("JPEG", **options))
    # A fill byte may stand before any marker.
    filled = io.BytesIO(file.getvalue().replace(b"\xff\xdb", b"\xff\xff\xdb", 1))
    expected = file.getvalue().count(b"\xff\xda")
    assert pictures._scans(file) == pictures._scans(filled) == expected
    assert (expected > 1) == bool(options)


@given(st.binary(max_size=40))
def test_scans_are_counted_in_anything(content: bytes):
    assert pictures._scans(io.BytesIO(b"\xff\xd8" + content)) >= 1


@given(
    width=st.integers(1, 16383),
    height=st.integers(1, 16383),
    maker=st.sampled_from([odd_pictures.webp_lossless, odd_pictures.webp_extended]),
)
def test_the_size_of_a_webp_is_known_unopened(width: int, height: int, maker: Any):
    assert pictures._webp_size(maker(width, height)[:30]) == (width, height)


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow reads no WebP")
@pytest.mark.parametrize("lossless", [False, True])
def test_so_is_that_of_one_that_pillow_wrote(lossless: bool):
    content = odd_pictures.saved("WEBP", (300, 200), lossless=lossless)
    assert pictures._webp_size(content[:30]) == (300, 200)


def test_the_memory_that_is_free_is_not_exceeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "a.png", noise(40, 40))
    monkeypatch.setattr("minigrad.io.limits.FREE", 0)
    monkeypatch.setattr("minigrad.io.limits.free_memory", lambda: 1_000)
    text = refusal(path)
    assert "a.png has 40 x 40 pixels, and to read them would take 6.4 kB" in text
    assert "1.0 kB are free" in text
    assert text.endswith(".")


def test_a_picture_for_which_the_memory_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*arguments: Any, **options: Any) -> None:
        raise MemoryError

    path = write(tmp_path / "a.png", noise(40, 40))
    monkeypatch.setattr(Image.Image, "resize", fail)
    assert "a.png is too large for the memory" in refusal(path)
