"""Do picture files become what the network reads, whatever they are, and back?"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image, JpegImagePlugin, features

import minigrad as mg
import nn
from apps.errors import UserError
from apps.image_gradients import pictures
from apps.image_gradients.pictures import (
    Picture,
    denormalize,
    normalize,
    read,
    read_many,
    read_npz,
    samples,
    save,
    valid_range,
)
from apps.image_gradients.squeezenet import SqueezeNet

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
WEIGHTS = SHARED / "squeezenet/squeezenet1_1.npz"
IMAGENET = SHARED / "imagenet/imagenet_val_25.npz"

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


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(24, 40)).save(file, format=form, **FORMATS[form])
    return file.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples of one property use."""
    return tmp_path_factory.mktemp("pictures")


def refusal(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


# Which part of a picture is seen, and how large?


def test_the_shorter_side_becomes_256_and_the_middle_224_are_seen(tmp_path: Path):
    pixels = noise(512, 768)
    ours = read(write(tmp_path / "a.png", pixels))
    small = Image.fromarray(pixels).resize((384, 256), Image.Resampling.BILINEAR)
    theirs = np.asarray(small.crop((80, 16, 304, 240)))
    assert ours.pixels.shape == (224, 224, 3)
    assert ours.pixels.dtype == np.uint8
    assert np.abs(ours.pixels.astype(int) - theirs).max() <= 1
    assert (ours.name, ours.notes, ours.label) == ("a", (), None)
    assert ours.path == tmp_path / "a.png"


def test_other_sides_see_the_same_part(tmp_path: Path):
    ramp = np.arange(256, dtype="uint8")[None, :, None].repeat(256, 0).repeat(3, 2)
    path = write(tmp_path / "a.png", ramp)
    for side in (17, 112, 448):
        row = read(path, side).pixels[0, :, 0].astype(float)
        middles = 16 + (np.arange(side) + 0.5) * 224 / side - 0.5
        np.testing.assert_allclose(row, middles, atol=1)


@pytest.mark.parametrize("size", [(256, 256), (256, 375), (501, 256)])
def test_a_picture_that_keeps_its_scale_is_not_blurred(
    tmp_path: Path, size: tuple[int, int]
):
    pixels = noise(*size)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    seen = read(write(tmp_path / "a.png", pixels)).pixels
    np.testing.assert_array_equal(seen, pixels[top : top + 224, left : left + 224])


@given(pixels=arrays(np.uint8, (20, 20, 3)))
def test_what_was_saved_is_read_back(place: Path, pixels: np.ndarray):
    save(pixels, place / "saved.png")
    picture = read(place / "saved.png", side=20)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.notes == ()


def test_a_long_strip_fits_into_memory(tmp_path: Path):
    path = tmp_path / "strip.png"
    Image.new("RGB", (400_000, 8), "red").save(path)
    picture = read(path)
    assert (picture.pixels == (255, 0, 0)).all()
    assert picture.notes == (
        "only its middle is looked at, 1% of it",
        "enlarged from 400000 x 8: expect little",
    )


@pytest.mark.parametrize(
    ("size", "notes"),
    [
        ((300, 300), ()),
        ((640, 360), ()),
        ((128, 128), ()),
        ((800, 400), ("only its middle is looked at, 38% of it",)),
        ((127, 140), ("enlarged from 127 x 140: expect little",)),
    ],
)
def test_notes_on_what_is_lost(
    tmp_path: Path, size: tuple[int, int], notes: tuple[str, ...]
):
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    assert read(path).notes == notes


def test_a_photo_of_20_megapixels_is_noted(tmp_path: Path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (5500, 3667), "blue").save(path)
    assert read(path).notes == ("20.2 megapixels, made smaller",)


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
    assert fraction.notes == ("turned as its EXIF data say",)


# Which kinds of colour are there?


def halves(mode: str, values: Any) -> Image.Image:
    """A picture of 8 x 8, the left half of one value and the right of another."""
    image = Image.new(mode, (8, 8))
    for x, y in np.ndindex(8, 8):
        image.putpixel((x, y), values[x // 4])
    return image


def assert_halves(picture: Picture, left: Any, right: Any, levels: int = 0) -> None:
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
    assert picture.name == "picture"
    assert picture.notes == ("enlarged from 40 x 24: expect little",)


def test_formats_that_this_pillow_lacks_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pictures, "FORMATS", ("OF-TOMORROW", "PNG"))
    assert read(write(tmp_path / "a.png", noise(16, 16))).name == "a"


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
        assert picture.pixels.shape == (224, 224, 3)
        assert picture.pixels.dtype == np.uint8
        return
    assert str(path) in message
    assert message.endswith(".")


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


def test_a_folder(tmp_path: Path):
    assert refusal(tmp_path) == (
        f"{tmp_path} is a folder, not a picture. Name a picture file."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    assert "is a pipe or a device, not a picture" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_a_picture_too_small_to_show_anything(tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    text = refusal(path)
    assert f"is {size[0]} x {size[1]} pixels: there is nothing to see below 8" in text
    assert "Give a larger one" in text


def test_a_picture_that_would_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "a.png", noise(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    text = refusal(path)
    assert "a.png is too large for the memory" in text
    assert "Make it smaller" in text
    # Up to twice the limit, Pillow only warns; the picture is fine.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    assert read(path).pixels.shape == (224, 224, 3)


def test_a_picture_for_which_the_memory_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*arguments: Any, **options: Any) -> None:
        raise MemoryError

    path = write(tmp_path / "a.png", noise(40, 40))
    monkeypatch.setattr(Image.Image, "resize", fail)
    assert "a.png is too large for the memory" in refusal(path)


# Many pictures


def test_folders_are_read_in_order_and_files_once(tmp_path: Path):
    folder = tmp_path / "photos"
    (folder / "deeper.png").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "c.webp", ".hidden.png"):
        write(folder / name, noise(16, 16), format="PNG")
    (folder / "notes.txt").write_text("no picture")
    write(tmp_path / "z.png", noise(16, 16))
    read_ = read_many([tmp_path / "z.png", folder, str(folder / "b.png")], side=16)
    assert [picture.name for picture in read_] == ["z", "a", "b", "c"]


def test_all_that_is_wrong_is_told(tmp_path: Path):
    (tmp_path / "a.png").touch()
    write(tmp_path / "b.png", noise(16, 16))
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.npz").touch()
    with pytest.raises(UserError) as caught:
        read_many([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "empty", "d.png"])
    first, *others = str(caught.value).split("\n")
    assert first == "3 of the pictures cannot be used:"
    assert [any(part in line for line in others) for part in ("a.png is", "d.png.")]
    assert any("empty is a folder without pictures" in line for line in others)
    assert len(others) == 3


def test_one_thing_that_is_wrong_stands_alone(tmp_path: Path):
    with pytest.raises(UserError, match=r"^there is no file"):
        read_many([tmp_path / "a.png"])


def test_at_least_one_picture():
    with pytest.raises(UserError, match=r"no picture was given\. Give one by --image"):
        read_many([])


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("a" * 24, "a" * 24),
        ("a" * 25, "a" * 23 + "…"),
        ("Katze im Schnee ❄", "Katze im Schnee ❄"),
        ("two\nlines", "two?lines"),
        (os.fsdecode(b"caf\xe9"), "caf?"),
    ],
)
def test_names_fit_a_caption(tmp_path: Path, stem: str, name: str):
    try:
        path = write(tmp_path / f"{stem}.png", noise(16, 16), format="PNG")
    except OSError:
        pytest.skip("this system has no such file names")
    assert read(path).name == name
    name.encode("utf-8")


# Arrays of pictures


def write_npz(path: Path, **changes: Any) -> Path:
    content = {"X": np.stack([noise(16, 16, seed) for seed in range(3)])}
    content |= {"y": np.array([5, 0, 999])}
    content |= {"label_map": np.array({0: "tench"}, dtype=object)} | changes
    np.savez(path, **{key: v for key, v in content.items() if v is not None})
    return path


def test_arrays_with_classes_are_read(tmp_path: Path):
    path = write_npz(tmp_path / "val.npz")
    read_ = read_many([path], side=16)
    assert [p.name for p in read_] == ["val[0]", "val[1]", "val[2]"]
    assert [p.label for p in read_] == [5, 0, 999]
    for seed, picture in enumerate(read_):
        np.testing.assert_array_equal(picture.pixels, noise(16, 16, seed))
    assert len(read_npz(path, count=2, side=16)) == 2
    assert len(read_npz(path, count=9, side=16)) == 3


def test_arrays_of_another_size_are_cut_and_scaled(tmp_path: Path):
    picture = read_npz(write_npz(tmp_path / "val.npz"))[0]
    alone = read(write(tmp_path / "a.png", noise(16, 16)))
    np.testing.assert_array_equal(picture.pixels, alone.pixels)
    assert picture.notes == alone.notes == ("enlarged from 16 x 16: expect little",)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"X": None}, "has no array X. It must hold X, the pictures"),
        ({"y": None}, "has no array y. It must hold X, the pictures"),
        ({"X": np.zeros((3, 16, 16, 3))}, "is float64 (3, 16, 16, 3). It must hold pi"),
        ({"X": np.zeros((3, 3, 16, 16), "uint8")}, "is uint8 (3, 3, 16, 16). It must"),
        ({"X": np.zeros((3, 16), "uint8")}, "is uint8 (3, 16). It must"),
        ({"X": np.zeros((0, 16, 16, 3), "uint8")}, "at least one"),
        ({"X": np.zeros((3, 4, 16, 3), "uint8")}, "is 16 x 4 pixels"),
        ({"X": np.array([{}] * 3)}, "is damaged, or is no .npz file of numbers"),
        ({"y": np.zeros(2, int)}, "is int64 (2,). It must hold one whole number"),
        ({"y": np.zeros(3)}, "is float64 (3,). It must hold one whole number"),
        ({"y": np.array([0, 1, 1000])}, "goes from 0 to 1000, but ImageNet's classes"),
        ({"y": np.array([0, 1, -1])}, "goes from -1 to 1, but ImageNet's classes"),
    ],
)
def test_arrays_of_something_else(tmp_path: Path, changes: Any, text: str):
    path = write_npz(tmp_path / "val.npz", **changes)
    with pytest.raises(UserError) as caught:
        read_npz(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04"])
def test_files_that_hold_no_arrays(tmp_path: Path, content: bytes):
    path = tmp_path / "val.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"no \.npz file of numbers\. Copy or"):
        read_npz(path)


@given(share=st.floats(0, 1))
def test_arrays_cut_short(place: Path, share: float):
    path = write_npz(place / "cut.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 1))])
    with pytest.raises(UserError, match="Copy or download it again"):
        read_npz(path)


def test_missing_arrays(tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        read_npz(tmp_path / "val.npz")


@pytest.mark.skipif(not IMAGENET.exists(), reason=f"{IMAGENET} is not here")
def test_the_courses_pictures_are_read():
    read_ = read_npz(IMAGENET)
    with np.load(IMAGENET) as file:
        np.testing.assert_array_equal([p.pixels for p in read_], file["X"])
        np.testing.assert_array_equal([p.label for p in read_], file["y"])


# Sample photos


@pytest.fixture
def skimage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of photos of a scikit-image that must not be imported."""
    data = tmp_path / "skimage/data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise AssertionError('imported')")
    for name in ("chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"):
        write(data / name, noise(16, 16))
    write(data / "camera.png", noise(16, 16)[..., 0])
    monkeypatch.delitem(importlib.sys.modules, "skimage", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return data


def test_samples_come_from_scikit_image_unimported(skimage: Path):
    read_ = samples(side=16)
    names = ["cat", "coffee", "motorcycle", "rocket", "tripod"]
    assert [picture.name for picture in read_] == names
    assert [picture.label for picture in read_] == [281, 967, None, None, 872]
    assert read_[0].path == skimage / "chelsea.png"
    assert read_[-1].notes == (GREY,)


def test_samples_without_scikit_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        samples()
    assert "not installed" in str(caught.value)
    assert "pip install -e '.[look]'" in str(caught.value)
    assert "by --image" in str(caught.value)


def test_samples_of_a_scikit_image_without_them(skimage: Path):
    (skimage / "coffee.png").unlink()
    with pytest.raises(UserError, match="a version without them"):
        samples()


@pytest.mark.skipif(
    not (WEIGHTS.exists() and importlib.util.find_spec("skimage")),
    reason="needs scikit-image's photos, and SqueezeNet's weights in shared/data",
)
def test_the_network_says_something_sensible_of_the_samples():
    network = SqueezeNet().eval()
    with np.load(WEIGHTS) as weights:
        nn.load_torch_state_dict(network, dict(weights))
    with mg.no_grad():
        scores = network(normalize(np.stack([p.pixels for p in samples()]))).numpy()
    best = np.argsort(-scores, axis=1)[:, :3]
    # Tabby cat, espresso, moped, missile, tripod.
    for right, said in zip((281, 967, 665, 657, 872), best, strict=True):
        assert right in said


# Numbers that the network reads


def test_every_level_comes_back():
    levels = np.arange(256, dtype="uint8").repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(denormalize(normalize(levels)), levels)


@given(pixels=arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.just(3))))
def test_pictures_come_back(pixels: np.ndarray):
    normal = normalize(pixels)
    assert normal.dtype == np.float32
    N, H, W, _ = pixels.shape
    assert normal.shape == (N, 3, H, W)
    np.testing.assert_array_equal(denormalize(normal), pixels)


def test_numbers_are_imagenets():
    pixels = np.array([124, 116, 104], "uint8").reshape(1, 1, 1, 3)
    assert np.abs(normalize(pixels)).max() < 0.01
    pixels = np.array([255, 0, 255], "uint8").reshape(1, 1, 1, 3)
    expected = [2.2489, -2.0357, 2.6400]
    np.testing.assert_allclose(normalize(pixels).ravel(), expected, atol=1e-4)


def test_what_lies_outside_becomes_the_nearest_colour():
    low, high = valid_range()
    outside = np.stack([low - 1, high + np.float32(np.inf)])
    assert denormalize(outside).ravel().tolist() == [0, 0, 0, 255, 255, 255]
    nearly = low + (high - low) * np.float32(99.6 / 255)
    assert denormalize(nearly[None]).ravel().tolist() == [100] * 3


def test_a_picture_of_no_numbers_is_an_error():
    with pytest.raises(ValueError, match=r"not numbers \(NaN\).*make them smaller"):
        denormalize(np.full((1, 3, 2, 2), np.nan))


def test_the_valid_range_is_of_black_and_white():
    low, high = valid_range()
    assert low.shape == high.shape == (3, 1, 1)
    assert low.dtype == high.dtype == np.float32
    normal = normalize(np.array([0, 255], "uint8").repeat(3).reshape(2, 1, 1, 3))
    np.testing.assert_array_equal(normal, [low, high])


@given(pixels=arrays(np.uint8, (2, 3, 4, 3)))
def test_normalised_pictures_lie_in_the_valid_range(pixels: np.ndarray):
    low, high = valid_range()
    normal = normalize(pixels)
    assert (low <= normal).all()
    assert (normal <= high).all()
    np.testing.assert_array_equal(np.clip(normal, low, high), normal)


# Files


def test_a_picture_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "made/a.png"
    save(noise(16, 16), path)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")

    def fail(image: Image.Image, file: Path, format: str) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(noise(16, 16, seed=1), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_pictures_are_compared_by_identity():
    one, other = Picture("a", noise(8, 8)), Picture("a", noise(8, 8))
    assert one == one
    assert one != other
