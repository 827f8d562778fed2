"""Do picture files become what the network reads, whatever they are, and back?"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as of_numpy
from PIL import Image

import minigrad as mg
import nn
from apps.errors import UserError
from apps.image_gradients import arrays, pictures
from apps.image_gradients.pictures import (
    Picture,
    denormalize,
    find,
    normalize,
    read,
    read_npz,
    samples,
    save,
    valid_range,
)
from apps.image_gradients.squeezenet import SqueezeNet
from tests.apps.look_data import watched_pictures
from tests.apps.odd_pictures import noise, write

SHARED = Path(__file__).resolve().parents[3] / "shared/data"
WEIGHTS = SHARED / "squeezenet/squeezenet1_1.npz"
IMAGENET = SHARED / "imagenet/imagenet_val_25.npz"

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


@given(pixels=of_numpy(np.uint8, (20, 20, 3)))
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


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_a_picture_too_small_to_show_anything(tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    text = refusal(path)
    assert f"is {size[0]} x {size[1]} pixels: there is nothing to see below 8" in text
    assert "Give a larger one" in text


# Many pictures


def test_folders_are_read_in_order_and_files_once(tmp_path: Path):
    folder = tmp_path / "photos"
    (folder / "deeper.png").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "c.webp", ".hidden.png"):
        write(folder / name, noise(16, 16), format="PNG")
    (folder / "notes.txt").write_text("no picture")
    write(tmp_path / "z.png", noise(16, 16))
    read_ = list(find([tmp_path / "z.png", folder, str(folder / "b.png")], side=16))
    assert [picture.name for picture in read_] == ["z", "a", "b", "c"]


def test_all_that_is_wrong_is_told(tmp_path: Path):
    (tmp_path / "a.png").touch()
    write(tmp_path / "b.png", noise(16, 16))
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.npz").touch()
    with pytest.raises(UserError) as caught:
        find([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "empty", "d.png"])
    first, *others = str(caught.value).split("\n")
    assert first == "3 of the pictures cannot be used:"
    assert [any(part in line for line in others) for part in ("a.png is", "d.png.")]
    assert any("empty is a folder without pictures" in line for line in others)
    assert len(others) == 3


def test_of_very_many_faults_the_first_are_told(tmp_path: Path):
    paths = [tmp_path / f"{number}.png" for number in range(30)]
    with pytest.raises(UserError) as caught:
        list(find(paths))
    first, *others = str(caught.value).split("\n")
    assert first == "30 of the pictures cannot be used:"
    assert len(others) == pictures.LISTED + 1
    assert others[-1] == "  ... and 10 more."


def test_pictures_are_found_and_read_when_they_are_asked_for(tmp_path: Path):
    for number in range(5):
        write(tmp_path / f"{number}.png", noise(16, 16, number)[..., 0])
    told: list[int] = []
    found = find([tmp_path], side=16, progress=told.append)
    assert told == [1, 2, 3, 4, 5]
    assert len(found) == 5
    grey = ("grey, shown as colour",)
    assert found.notes == tuple((f"{number}", grey) for number in range(5))
    parts = [[picture.name for picture in few] for few in found.parts(2)]
    assert parts == [["0", "1"], ["2", "3"], ["4"]]
    assert [picture.name for picture in found] == ["0", "1", "2", "3", "4"]


def test_no_more_pictures_are_alive_than_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    most = watched_pictures(monkeypatch)
    for number in range(40):
        write(tmp_path / f"{number}.png", noise(16, 16, number))
    write_npz(tmp_path / "val.npz", X=noise(16, 16)[None].repeat(40, 0), y=[7] * 40)
    found = find([tmp_path, tmp_path / "val.npz"], side=16)
    assert len(found) == len(most) == 80
    assert max(most) <= 2  # the last one is let go when the next has been made
    for _ in found.parts(3):
        pass
    assert len(most) == 160
    assert max(most) <= 7


def test_one_thing_that_is_wrong_stands_alone(tmp_path: Path):
    with pytest.raises(UserError, match=r"^there is no file"):
        list(find([tmp_path / "a.png"]))


def test_at_least_one_picture():
    with pytest.raises(UserError, match=r"no picture was given\. Give one by --image"):
        list(find([]))


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
    read_ = list(find([path], side=16))
    assert [p.name for p in read_] == ["val[0]", "val[1]", "val[2]"]
    assert [p.label for p in read_] == [5, 0, 999]
    for seed, picture in enumerate(read_):
        np.testing.assert_array_equal(picture.pixels, noise(16, 16, seed))


def test_arrays_that_lie_column_by_column_are_read(tmp_path: Path):
    X = np.stack([noise(16, 24, seed) for seed in range(3)])
    path = write_npz(tmp_path / "val.npz", X=np.asfortranarray(X))
    (picture, *_) = read_npz(path)
    alone = read(write(tmp_path / "a.png", X[0]))
    np.testing.assert_array_equal(picture.pixels, alone.pixels)


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@given(bit=st.integers(0, 10**6))
def test_no_arrays_with_a_wrong_bit_are_other_pictures(
    place: Path, pack: Any, bit: int
):
    path = place / "wrong.npz"
    X = np.stack([noise(16, 16, seed) for seed in range(3)])
    pack(path, X=X, y=np.arange(3))
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
        found = [(picture.label, picture.pixels) for picture in read_npz(path, 16)]
    except UserError as error:
        message = str(error)
    else:
        assert [label for label, _ in found] == [0, 1, 2]
        np.testing.assert_array_equal([pixels for _, pixels in found], X)
        return
    assert str(path) in message
    assert message.endswith(".")


def write_zip(path: Path, X: bytes, y: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("X.npy", X)
        archive.writestr("y.npy", y)
    return path


def header(shape: tuple[int, ...], kind: str = "|u1", columns: bool = False) -> bytes:
    """The beginning of an .npy that says how large its array is."""
    file = io.BytesIO()
    told = {"descr": kind, "fortran_order": columns, "shape": shape}
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue()


LABELS = header((3,), "<i8") + bytes(24)


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (header((3, 16, 16, 3)), LABELS, "it ends too early"),
        (header((3, 16, 16, 3)) + bytes(3000), LABELS, "more numbers in it than"),
        (header((3, 10**6, 10**6, 3)), LABELS, "which take 9.0 TB of memory to read"),
        (header((3, 2**62, 2**62, 3)), LABELS, "more than 1,000,000 TB of memory"),
        (
            header((10**12, 16, 16, 3)),
            header((10**12,), "<i8"),
            "it has 1,000,000,000,000 pictures; at most 100,000 are read",
        ),
        (
            header((4, 5000, 5000, 3), columns=True),
            header((4,), "<i8") + bytes(32),
            "lie column by column, so that they must be read at once",
        ),
        (header((3, -16, 16, 3)), LABELS, "X in "),
    ],
)
def test_arrays_that_say_what_is_not_so(
    tmp_path: Path, X: bytes, y: bytes, text: str
):
    path = write_zip(tmp_path / "val.npz", X, y)
    with pytest.raises(UserError) as caught:
        list(read_npz(path))
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


def test_arrays_that_unpack_to_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arrays, "FREE", 10**6)
    content = header((3, 1000, 1000, 3)) + bytes(9 * 10**6)
    path = write_zip(tmp_path / "val.npz", content, LABELS, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"would unpack to 9\.0 MB, from 8\.. kB; "):
        list(read_npz(path))
    path = write_zip(tmp_path / "val.npz", content, LABELS, zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match=r"is .*compressed in another way|is packed in"):
        list(read_npz(path))


def test_pictures_of_arrays_are_read_one_by_one(tmp_path: Path):
    """So a file may have more of them than the memory holds."""
    path = write_npz(tmp_path / "val.npz", X=np.zeros((3, 1000, 1000, 3), "uint8"))
    gc.collect()
    tracemalloc.start()
    try:
        for _ in read_npz(path):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 3 * 10**6 + 10**6


def test_arrays_of_another_size_are_cut_and_scaled(tmp_path: Path):
    picture = next(read_npz(write_npz(tmp_path / "val.npz")))
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
        ({"X": np.array([{}] * 3)}, "X in "),
        ({"y": np.zeros(2, int)}, "is int64 (2,). It must hold one whole number"),
        ({"y": np.zeros(3)}, "is float64 (3,). It must hold one whole number"),
        ({"y": np.array([0, 1, 1000])}, "goes from 0 to 1000, but ImageNet's classes"),
        ({"y": np.array([0, 1, -1])}, "goes from -1 to 1, but ImageNet's classes"),
    ],
)
def test_arrays_of_something_else(tmp_path: Path, changes: Any, text: str):
    path = write_npz(tmp_path / "val.npz", **changes)
    with pytest.raises(UserError) as caught:
        list(read_npz(path))
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04"])
def test_files_that_hold_no_arrays(tmp_path: Path, content: bytes):
    path = tmp_path / "val.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"read as an \.npz of pictures: .*\. Copy or"):
        list(read_npz(path))


@given(share=st.floats(0, 1))
def test_arrays_cut_short(place: Path, share: float):
    path = write_npz(place / "cut.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 1))])
    with pytest.raises(UserError, match="Copy or download it again"):
        list(read_npz(path))


def test_missing_arrays(tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        list(read_npz(tmp_path / "val.npz"))


@pytest.mark.skipif(not IMAGENET.exists(), reason=f"{IMAGENET} is not here")
def test_the_courses_pictures_are_read():
    read_ = list(read_npz(IMAGENET))
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
    assert read_[-1].notes == ("grey, shown as colour",)


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


@given(pixels=of_numpy(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.just(3))))
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


@given(pixels=of_numpy(np.uint8, (2, 3, 4, 3)))
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
