"""Does a folder with a fault give one clear error, and a sound one the right arrays?"""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from apps.captioning import data, train


def replace(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with h5py.File(path, "a") as file:
        array = change(file[name][:])
        del file[name]
        file[name] = array


def put(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def put_first(row: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[row, 0] = value
        return array

    return change


def damage(path: Path, name: str) -> None:
    """Break the packed numbers, of which HDF5 keeps a checksum; the file opens."""
    with h5py.File(path, "a") as file:
        array = file[name][:]
        del file[name]
        made = file.create_dataset(name, data=array, chunks=True, fletcher32=True)
        begin = made.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[begin] ^= 0xFF
    path.write_bytes(content)


def rename(path: Path, name: str) -> None:
    with h5py.File(path, "a") as file:
        file.move(name, "something_else")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CAPTIONS, VOCABULARY = "coco2014_captions.h5", "coco2014_vocab.json"
FEATURES = "train2014_vgg16_fc7_pca.h5"

# What is done to a sound folder, and what the message must then say.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no captions": (lambda d: (d / CAPTIONS).unlink(), "captions.h5 is missing"),
    "no features": (lambda d: (d / FEATURES).unlink(), "fc7_pca.h5 is missing"),
    "no vocabulary": (lambda d: (d / VOCABULARY).unlink(), "vocab.json is missing"),
    "truncated captions": (lambda d: truncate(d / CAPTIONS), "cannot be read as HDF5"),
    "truncated features": (lambda d: truncate(d / FEATURES), "cannot be read as HDF5"),
    "truncated vocabulary": (lambda d: truncate(d / VOCABULARY), "expected JSON"),
    "vocabulary of a list": (
        lambda d: (d / VOCABULARY).write_text("[]"),
        "expected JSON",
    ),
    "vocabulary in two minds": (
        lambda d: (d / VOCABULARY).write_text(
            json.dumps({"idx_to_word": ["a", "b"], "word_to_idx": {"a": 1, "b": 0}})
        ),
        "disagree",
    ),
    "no special words": (
        lambda d: (d / VOCABULARY).write_text(
            json.dumps({"idx_to_word": ["a"], "word_to_idx": {"a": 0}})
        ),
        "lacks <NULL>, <START>, <END>, <UNK>",
    ),
    "captions renamed": (
        lambda d: rename(d / CAPTIONS, "val_captions"),
        "'val_captions' is missing",
    ),
    "indices renamed": (
        lambda d: rename(d / CAPTIONS, "train_image_idxs"),
        "'train_image_idxs' is missing",
    ),
    "features renamed": (
        lambda d: rename(d / FEATURES, "features"),
        "'features' is missing",
    ),
    "flat captions": (
        lambda d: replace(d / CAPTIONS, "train_captions", np.ravel),
        "must be integer with 2 axes",
    ),
    "captions of floats": (
        lambda d: replace(d / CAPTIONS, "train_captions", np.float32),
        "float32 of shape",
    ),
    "flat features": (
        lambda d: replace(d / FEATURES, "features", np.ravel),
        "must be floating with 2 axes",
    ),
    "narrow features": (
        lambda d: replace(d / FEATURES, "features", lambda x: x[:, :9]),
        "training features are 9 wide",
    ),
    "empty split": (
        lambda d: replace(d / CAPTIONS, "val_captions", lambda x: x[:0]),
        "leaves nothing to learn",
    ),
    "id outside the vocabulary": (
        lambda d: replace(d / CAPTIONS, "train_captions", put(7, 999)),
        "row 7 of 'train_captions' has the word id 999",
    ),
    "negative id": (
        lambda d: replace(d / CAPTIONS, "train_captions", put(7, -1)),
        "row 7 of 'train_captions' has the word id -1",
    ),
    "picture out of range": (
        lambda d: replace(d / CAPTIONS, "val_image_idxs", put(5, 12)),
        "row 5 of 'val_image_idxs' is 12",
    ),
    "negative picture": (
        lambda d: replace(d / CAPTIONS, "val_image_idxs", put(5, -1)),
        "row 5 of 'val_image_idxs' is -1",
    ),
    "too few indices": (
        lambda d: replace(d / CAPTIONS, "val_image_idxs", lambda x: x[:-1]),
        "60 captions but 59 entries",
    ),
    "too few picture names": (
        lambda d: (d / "val2014_images.txt").write_text("one.png\n"),
        "names 1 pictures, but the features have 12",
    ),
    "picture names of bytes": (
        lambda d: (d / "val2014_images.txt").write_bytes(b"\xff\n" * 12),
        "cannot be read as text",
    ),
    "a picture outside the folder": (
        lambda d: (d / "val2014_images.txt").write_text("a.png\n" * 11 + "../b.png\n"),
        r"line 12 is '../b.png', which is no file inside",
    ),
    "a picture anywhere": (
        lambda d: (d / "val2014_images.txt").write_text("/etc/b.png\n" * 12),
        "line 1 is '/etc/b.png'",
    ),
    "too few addresses": (
        lambda d: (d / "train2014_urls.txt").write_text("http://host/a.jpg\n"),
        "names 1 addresses, but the features have 51",
    ),
    "words that are none": (
        lambda d: (d / VOCABULARY).write_text(
            json.dumps({"idx_to_word": [["a"]], "word_to_idx": {"a": 0}})
        ),
        r"holds \['a'\], which is no word",
    ),
    "ids that are none": (
        lambda d: (d / VOCABULARY).write_text(
            json.dumps({"idx_to_word": ["a"], "word_to_idx": {"a": False}})
        ),
        "disagree",
    ),
    "a deep vocabulary": (
        lambda d: (d / VOCABULARY).write_text("[" * 100_000),
        "expected JSON",
    ),
    "captions not begun": (
        lambda d: replace(d / CAPTIONS, "train_captions", put_first(3, 0)),
        "row 3 of 'train_captions' does not begin with <START>",
    ),
    "captions of one id": (
        lambda d: replace(d / CAPTIONS, "train_captions", lambda x: x[:, :1]),
        "leaves nothing to learn",
    ),
    "no feature rows": (
        lambda d: replace(d / FEATURES, "features", lambda x: x[:0]),
        r"shape \(0, 176\), which is empty",
    ),
    "features without width": (
        lambda d: replace(d / FEATURES, "features", lambda x: x[:, :0]),
        r"shape \(51, 0\), which is empty",
    ),
    "features of integers": (
        lambda d: replace(d / FEATURES, "features", lambda x: x.astype(np.int32)),
        "'features' is int32",
    ),
    "features beyond float32": (
        lambda d: replace(
            d / FEATURES, "features", lambda x: put(7, 1e300)(x.astype(float))
        ),
        "row 7 of 'features' holds NaN or infinity",
    ),
    "a group, not numbers": (
        lambda d: h5py.File(d / FEATURES, "w").create_group("features").file.close(),
        "'features' is missing",
    ),
    "damaged features": (lambda d: damage(d / FEATURES, "features"), "is damaged"),
    "damaged captions": (
        lambda d: damage(d / CAPTIONS, "val_captions"),
        "captions.h5 opens as HDF5, but reading from it failed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_gives_one_clear_error(copy: Path, fault: str) -> None:
    inject, message = FAULTS[fault]
    inject(copy)
    with pytest.raises(data.DataError, match=message):
        data.load_data(copy)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="is not a folder"):
        data.load_data(tmp_path / "nowhere")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_is_named(copy: Path, value: float, split: str) -> None:
    """Of both splits, and before training: scores come after hours of it."""
    file = copy / f"{split}2014_vgg16_fc7_pca.h5"
    replace(file, "features", put(11, value))
    with pytest.raises(data.DataError, match=f"{file.name}: row 11 of 'features'"):
        data.load_data(copy)


def test_infinities_that_cancel_are_found(copy: Path) -> None:
    def change(features: np.ndarray) -> np.ndarray:
        features[5, 3], features[9, 3] = np.inf, -np.inf
        return features

    replace(copy / FEATURES, "features", change)
    with pytest.raises(data.DataError, match="row 5 of 'features'"):
        data.load_data(copy)


def test_file_that_changes_after_opening(copy: Path) -> None:
    train = data.load_data(copy).train
    bad = np.full(train.features.shape, np.nan)
    broken = dataclasses.replace(train, features=FakeFeatures(train.features, bad))
    with pytest.raises(data.DataError, match="row 2 of 'features'"):
        broken.read_features(np.array([30, 11, 2]))


class FakeFeatures:
    """Features that are others than when the file was opened."""

    def __init__(self, features: h5py.Dataset, values: np.ndarray) -> None:
        self.file = features.file
        self.shape = values.shape
        self.values = values

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.values[rows]


def wide_folder(folder: Path, pictures: int, width: int) -> Path:
    """A set whose features are large for its captions; zeros take no disk."""
    words = [*data.SPECIAL_WORDS, "a", "b"]
    captions = np.tile([1, 4, 5, 2], (pictures, 1))
    few = (np.ones((2, width)), captions[:2], np.arange(2), ["0.png", "1.png"])
    data.write_folder(folder, words, {"train": few, "val": few})
    (folder / "train2014_images.txt").unlink()
    with h5py.File(folder / CAPTIONS, "a") as file:
        del file["train_captions"], file["train_image_idxs"]
        file["train_captions"] = captions
        file["train_image_idxs"] = np.arange(pictures)
    with h5py.File(folder / FEATURES, "w") as file:
        made = file.create_dataset(
            "features", (pictures, width), "float32", chunks=(64, width)
        )
        made[pictures - 3 :] = 1
    return folder


def test_no_copy_of_all_features_is_made(tmp_path: Path) -> None:
    """They would take 160 MB; opening, checking and training take a tenth of it."""
    folder = wide_folder(tmp_path / "wide", 10_000, 4096)
    settings = train.Settings(str(folder), hidden_dim=4, wordvec_dim=4, batch=64)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        trained, job = train.build(settings)
        for _ in range(5):
            job.update(rng.integers(0, 10_000, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert trained.data.train.features.nbytes == 163_840_000
    assert peak < 25_000_000, f"{peak:,} bytes at the peak"


def test_a_bad_row_far_down_is_named(tmp_path: Path) -> None:
    folder = wide_folder(tmp_path / "wide", 3_000, 1024)
    with h5py.File(folder / FEATURES, "a") as file:
        file["features"][2_998, 1_023] = np.nan
    with pytest.raises(data.DataError, match="row 2998 of 'features'"):
        data.load_data(folder)


def test_full_features(copy: Path) -> None:
    for split in ("train", "val"):
        name = data.features_file(split)
        with h5py.File(copy / name) as file:
            wide = np.repeat(file["features"][:], 2, axis=1)
        with h5py.File(copy / data.features_file(split, "full"), "w") as file:
            file["features"] = wide
    assert data.load_data(copy, "full").train.input_dim == 352
    assert data.load_data(copy).train.input_dim == 176


def test_full_features_that_are_missing(copy: Path) -> None:
    with pytest.raises(data.DataError, match=r"train2014_vgg16_fc7\.h5 is missing"):
        data.load_data(copy, "full")


def test_moments(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHUNK", 7 * 176 * 4)
    split = data.load_data(drawn).train
    whole = split.features[:].astype(np.float64)
    moments = split.moments
    np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, whole.var(axis=0).mean(), rtol=1e-9)
    assert (moments.smallest, moments.largest) == (whole.min(), whole.max())
    assert moments.zeros == np.mean(whole == 0)


def test_addresses_are_optional(copy: Path) -> None:
    urls = [f"http://host/{i}.jpg" for i in range(12)]
    assert data.load_data(copy).val.urls == ()
    (copy / "val2014_urls.txt").write_text("\n".join(urls))
    assert data.load_data(copy).val.urls == tuple(urls)


def test_unknown_words_can_be_kept(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    ids = [loaded.vocabulary[word] for word in ["<START>", "a", "<UNK>", "<END>"]]
    assert loaded.words([ids], unknown=True) == [["a", "<UNK>"]]


def test_features_come_in_the_order_asked_for(drawn: Path) -> None:
    split = data.load_data(drawn).val
    with h5py.File(drawn / "val2014_vgg16_fc7_pca.h5") as file:
        whole = file["features"][:]
    pictures = np.array([4, 1, 4, 11, 0])
    np.testing.assert_array_equal(split.read_features(pictures), whole[pictures])


def test_features_stay_on_disk(drawn: Path) -> None:
    assert isinstance(data.load_data(drawn).train.features, h5py.Dataset)


def test_pictures_are_optional(copy: Path) -> None:
    (copy / "val2014_images.txt").unlink()
    assert data.load_data(copy).val.images == ()


def test_words_end_where_the_caption_ends(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    caption = ["<START>", "a", "<UNK>", "red", "<END>", "circle"]
    ids = [loaded.vocabulary[word] for word in caption]
    assert loaded.words([ids]) == [["a", "red"]]


def test_standard_features(drawn: Path) -> None:
    split = data.load_data(drawn).train
    standard = data.Standard.of(split)
    x = standard(split.read_features(np.arange(51)))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(), 1, rtol=1e-5)


def test_standard_of_equal_pictures(copy: Path) -> None:
    replace(copy / FEATURES, "features", np.ones_like)
    split = data.load_data(copy).train
    assert (data.Standard.of(split)(split.read_features(np.arange(3))) == 0).all()
