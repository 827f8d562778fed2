"""Does a folder with a fault give one clear error, and a sound one the right arrays?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from apps.captioning import data


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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_row_that_is_not_finite_is_named(copy: Path, value: float) -> None:
    replace(copy / FEATURES, "features", put(11, value))
    train = data.load_data(copy).train
    assert train.read_features(np.array([3, 4])).shape == (2, 448)
    with pytest.raises(data.DataError, match="row 11 of 'features'"):
        train.read_features(np.array([30, 11, 2]))


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
    standard = data.Standard.of(split, chunk=7)
    x = standard(split.read_features(np.arange(40)))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(), 1, rtol=1e-5)


def test_standard_of_equal_pictures(copy: Path) -> None:
    replace(copy / FEATURES, "features", np.ones_like)
    split = data.load_data(copy).train
    assert (data.Standard.of(split)(split.read_features(np.arange(3))) == 0).all()
