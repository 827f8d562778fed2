"""Does a folder with a fault give one clear error, and a sound one the right arrays?"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from apps.captioning import data, layout, train


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


def write_ids(*words: str) -> Callable[[np.ndarray], np.ndarray]:
    """Let rows 3 and 9 say these words, padded."""
    ids = {"<NULL>": 0, "<START>": 1, "<END>": 2, "<UNK>": 3, "a": 4}

    def change(array: np.ndarray) -> np.ndarray:
        array[[3, 9]] = 0
        array[[3, 9], : len(words)] = [ids[word] for word in words]
        return array

    return change


def wide_captions(width: int, last: int) -> Callable[[np.ndarray], np.ndarray]:
    """Captions in so many columns; the first has an id in the last one."""

    def change(array: np.ndarray) -> np.ndarray:
        wide = np.pad(array, ((0, 0), (0, width - array.shape[1])))
        wide[0, -1] = last
        return wide

    return change


def as_features(path: Path, **options: Any) -> None:
    """Write 'features' anew, as these options of h5py say."""
    with h5py.File(path, "a") as file:
        array = file["features"][:]
        del file["features"]
        file.create_dataset("features", data=array, **options)


def half_written(path: Path, **options: Any) -> None:
    """Leave the last rows of 'features' unwritten."""
    with h5py.File(path) as file:
        array = file["features"][:]
    with h5py.File(path, "w") as file:
        made = file.create_dataset("features", array.shape, array.dtype, **options)
        made[:-20] = array[:-20]


def link(path: Path) -> None:
    """Let 'features' stand in another file."""
    other = path.with_name("other.h5")
    path.rename(other)
    with h5py.File(path, "w") as file:
        file["features"] = h5py.ExternalLink(other.name, "features")


def virtual(path: Path) -> None:
    """Let 'features' be pieced together from another file, which is not there."""
    with h5py.File(path, "a") as file:
        shape = file["features"].shape
        del file["features"]
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource("missing.h5", "features", shape)
        file.create_virtual_dataset("features", layout)


def external(path: Path) -> None:
    """Let the bytes of 'features' be those of any file."""
    with h5py.File(path, "a") as file:
        shape = file["features"].shape
        del file["features"]
        where = [("/etc/passwd", 0, 4 * shape[0] * shape[1])]
        file.create_dataset("features", shape, "f4", external=where)


def with_word(folder: Path, word: str) -> None:
    """Call the vocabulary's last word otherwise."""
    path = folder / VOCABULARY
    words = [*json.loads(path.read_text())["idx_to_word"][:-1], word]
    ids = {w: i for i, w in enumerate(words)}
    path.write_text(json.dumps({"idx_to_word": words, "word_to_idx": ids}))


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
    "truncated captions": (lambda d: truncate(d / CAPTIONS), "be read as an HDF5 file"),
    "truncated features": (lambda d: truncate(d / FEATURES), "be read as an HDF5 file"),
    "truncated vocabulary": (
        lambda d: truncate(d / VOCABULARY),
        "cannot be read as a vocabulary in JSON",
    ),
    "vocabulary of a list": (
        lambda d: (d / VOCABULARY).write_text("[]"),
        "expected a dictionary with 'idx_to_word'",
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
        "line 1: byte 0xff is no UTF-8",
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
        "as a vocabulary in JSON: it is nested too deeply",
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
        "'features' in it is no dataset",
    ),
    "damaged features": (
        lambda d: damage(d / FEATURES, "features"),
        "train2014_vgg16_fc7_pca.h5' cannot be read as HDF5",
    ),
    "captions without a word": (
        lambda d: replace(d / CAPTIONS, "train_captions", write_ids("<START>")),
        r"2 of the 255 rows of 'train_captions' have no word \(rows 3, 9\)",
    ),
    "captions that end at once": (
        lambda d: replace(
            d / CAPTIONS, "val_captions", write_ids("<START>", "<END>", "a")
        ),
        r"2 of the 60 rows of 'val_captions' have no word",
    ),
    "captions that begin over and over": (
        lambda d: replace(d / CAPTIONS, "val_captions", write_ids(*["<START>"] * 9)),
        r"2 of the 60 rows of 'val_captions' have no word",
    ),
    "captions that never end": (
        lambda d: replace(
            d / CAPTIONS, "train_captions", lambda x: np.where(x == 2, 0, x)
        ),
        r"no row of 'train_captions' has <END>",
    ),
    "an endless caption": (
        lambda d: replace(d / CAPTIONS, "train_captions", wide_captions(1_001, 4)),
        r"1 of the 255 rows .* longer than 1,000 words \(row 0\)",
    ),
    "features in another file": (lambda d: link(d / FEATURES), "ExternalLink"),
    "features pieced together": (lambda d: virtual(d / FEATURES), "is virtual"),
    "features of any bytes": (lambda d: external(d / FEATURES), "external storage"),
    "features half written": (
        lambda d: half_written(d / FEATURES),
        "20 rows of 'features' hold nothing but zeros, .* row 31 for one",
    ),
    "features half written, in chunks": (
        lambda d: half_written(d / FEATURES, chunks=(4, 176)),
        "of its 13 chunks are missing",
    ),
    "features half written, in a chunk": (
        lambda d: half_written(d / FEATURES, chunks=(51, 176)),
        "20 rows of 'features' hold nothing but zeros",
    ),
    "every other picture without features": (
        lambda d: replace(
            d / FEATURES, "features", lambda x: x * (np.arange(51) % 2)[:, None]
        ),
        "26 rows of 'features' hold nothing but zeros",
    ),
    "a word of many letters": (
        lambda d: with_word(d, "w" * 101),
        "holds a word of 101 letters, 'wwwwwwwwwwwwwwwwwwww' and so on",
    ),
    "a word of half a letter": (
        lambda d: with_word(d, "\ud800"),
        r"holds '\\ud800', in which a control character or half of a character",
    ),
    "a word that steers a terminal": (
        lambda d: with_word(d, "a\x9b2J"),
        r"holds 'a\\x9b2J', in which a control character",
    ),
    "a word of white space": (lambda d: with_word(d, " \t"), "which is no word"),
    "a vocabulary in UTF-16": (
        lambda d: (d / VOCABULARY).write_bytes("{}".encode("utf-16")),
        "vocab.json is in UTF-16, and only UTF-8 is read",
    ),
    "a name with a NUL": (
        lambda d: (d / "val2014_images.txt").write_text("a.png\n" * 11 + "\0\n"),
        "line 12: a NUL stands there",
    ),
    "a name that is too long": (
        lambda d: (d / "val2014_images.txt").write_text("a.png\n" * 11 + "n" * 256),
        "line 12 is 'nnnn.*which is no file inside",
    ),
    "a list that is a folder": (
        lambda d: (d / "train2014_urls.txt").mkdir(),
        r"urls.txt' cannot be read as a list of addresses: .*(irectory|folder)",
    ),
    "a list that is a pipe": (
        lambda d: os.mkfifo(d / "train2014_urls.txt"),
        "urls.txt' is a pipe",
    ),
    "a list that leads nowhere": (
        lambda d: (d / "train2014_urls.txt").symlink_to("nowhere"),
        "urls.txt' cannot be read as a list of addresses: .*No such file",
    ),
    "features that are a pipe": (
        lambda d: ((d / FEATURES).unlink(), os.mkfifo(d / FEATURES)),
        "fc7_pca.h5' is a pipe",
    ),
    "damaged captions": (
        lambda d: damage(d / CAPTIONS, "val_captions"),
        "captions.h5' cannot be read as HDF5",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_gives_one_clear_error(copy: Path, fault: str) -> None:
    inject, message = FAULTS[fault]
    inject(copy)
    with pytest.raises(layout.DataError, match=message):
        data.load_data(copy)


@pytest.mark.parametrize(
    "words",
    [
        ("<START>", "<UNK>", "<END>"),
        ("<START>", "a"),
        ("<START>", "a", "<NULL>", "a", "<END>"),
        ("<START>", "a", "<END>", "a"),
    ],
    ids=" ".join,
)
def test_captions_that_look_odd_can_be_learned(
    copy: Path, words: tuple[str, ...]
) -> None:
    """What opening lets pass, every minibatch has a loss for."""
    replace(copy / CAPTIONS, "train_captions", write_ids(*words))
    settings = train.Settings(str(copy), hidden_dim=4, wordvec_dim=4)
    _, job = train.build(settings)
    assert all(np.isfinite(job.update(np.array([row]))[0]) for row in (3, 9))


def test_a_picture_without_features_or_captions_may_be(copy: Path) -> None:
    replace(copy / FEATURES, "features", put(7, 0.0))
    replace(copy / CAPTIONS, "train_image_idxs", np.zeros_like)
    assert len(data.load_data(copy).train.features) == 51


def test_columns_of_padding_may_be_many(copy: Path) -> None:
    replace(copy / CAPTIONS, "train_captions", wide_captions(2_000, 0))
    assert data.load_data(copy).train.captions.shape == (255, 2_000)


@pytest.mark.parametrize(
    ("mark", "end"), [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r")]
)
def test_lists_as_any_editor_saves_them(copy: Path, mark: str, end: str) -> None:
    names = [f"{i}.png" for i in range(12)]
    for file in ("val2014_images.txt", "val2014_urls.txt"):
        (copy / file).write_bytes((mark + end.join(names) + end).encode())
    split = data.load_data(copy).val
    assert [path.name for path in split.images] == names
    assert list(split.urls) == names


def test_names_may_hold_what_others_take_for_ends_of_lines(copy: Path) -> None:
    names = [f"{i}\u2028\x0b\x85.png" for i in range(12)]
    (copy / "val2014_images.txt").write_text("\n".join(names), encoding="utf-8")
    assert [path.name for path in data.load_data(copy).val.images] == names


def test_a_vocabulary_with_a_byte_order_mark(copy: Path) -> None:
    words = data.load_data(copy).vocabulary
    path = copy / VOCABULARY
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert data.load_data(copy).vocabulary == words


STORED: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "gzip, a row a chunk": {"compression": "gzip", "chunks": (1, 176)},
    "lzf, a few columns a chunk": {"compression": "lzf", "chunks": (20, 9)},
    "chunks": {"chunks": (7, 50)},
    "chunks larger than all": {"chunks": (99, 200), "maxshape": (None, None)},
    "float64, big-endian": {"dtype": ">f8", "compression": "gzip", "shuffle": True},
}


@pytest.mark.parametrize("options", STORED.values(), ids=STORED)
def test_how_features_are_stored_makes_no_difference(
    drawn: Path, copy: Path, options: dict[str, Any]
) -> None:
    plain = data.load_data(drawn).train
    as_features(copy / FEATURES, **options)
    stored = data.load_data(copy).train
    rows = np.array([30, 0, 50, 30])
    np.testing.assert_array_equal(stored.read_features(rows), plain.read_features(rows))
    np.testing.assert_array_equal(stored.moments.mean, plain.moments.mean)


def test_packed_features_are_unpacked_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many minibatches are read, of however many parts of the captions."""
    as_features(copy / FEATURES, compression="gzip")
    opened = data.load_data(copy).train
    reads = 0

    def read(dataset: h5py.Dataset, where: Any) -> np.ndarray:
        nonlocal reads
        reads += 1
        raise AssertionError("the packed file is read again")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    for split in (opened, opened.with_captions(opened.captions, opened.image_indices)):
        split.read_features(np.array([4, 2]))
    assert not reads


def test_no_room_to_unpack(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_features(copy / FEATURES, compression="gzip")

    def refuse(file: int, begin: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(layout.DataError, match=r"temporary file .*No space left"):
        data.load_data(copy)


def test_features_that_inflate_are_refused(tmp_path: Path) -> None:
    """80 MB of zeros in 80 kB: neither memory nor disk is given to them."""
    folder = wide_folder(tmp_path / "wide", 2, 8)
    with h5py.File(folder / FEATURES, "w") as file:
        made = file.create_dataset(
            "features", (20_000, 1_000), "f4", chunks=(1000, 1000), compression="gzip"
        )
        stream = zlib.compress(bytes(4 * 10**6), 9)
        for row in range(0, 20_000, 1000):
            made.id.write_direct_chunk((row, 0), stream)
    with pytest.raises(layout.DataError, match=r"unpacks from 7\d\.\d kB to 80.0 MB"):
        data.load_data(folder)


def test_a_locked_file_is_called_so(copy: Path) -> None:
    """Another process writes the features."""
    program = (
        "import h5py, sys\n"
        f"file = h5py.File({str(copy / FEATURES)!r}, 'a')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "HDF5_USE_FILE_LOCKING": "TRUE"},
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"held\n"
        with pytest.raises(layout.DataError, match=r"fc7_pca\.h5' is locked"):
            data.load_data(copy)
        writer.communicate(b"")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(layout.DataError, match="is not a folder"):
        data.load_data(tmp_path / "nowhere")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_is_named(copy: Path, value: float, split: str) -> None:
    """Of both splits, and before training: scores come after hours of it."""
    file = copy / f"{split}2014_vgg16_fc7_pca.h5"
    replace(file, "features", put(11, value))
    with pytest.raises(layout.DataError, match=f"{file.name}: row 11 of 'features'"):
        data.load_data(copy)


def test_infinities_that_cancel_are_found(copy: Path) -> None:
    def change(features: np.ndarray) -> np.ndarray:
        features[5, 3], features[9, 3] = np.inf, -np.inf
        return features

    replace(copy / FEATURES, "features", change)
    with pytest.raises(layout.DataError, match="row 5 of 'features'"):
        data.load_data(copy)


def test_file_that_changes_after_opening(copy: Path) -> None:
    train = data.load_data(copy).train
    bad = np.full(train.features.shape, np.nan)
    broken = dataclasses.replace(train, features=FakeFeatures(train.features, bad))
    with pytest.raises(layout.DataError, match="row 2 of 'features'"):
        broken.read_features(np.array([30, 11, 2]))


class FakeFeatures:
    """Features that are others than when the file was opened."""

    def __init__(self, features: h5py.Dataset, values: np.ndarray) -> None:
        self.file = features.file
        self.shape = values.shape
        self.chunks = None
        self.values = values

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.values[rows]


def wide_folder(
    folder: Path, pictures: int, width: int, packed: str | None = None
) -> Path:
    """A set whose features are large for its captions."""
    words = [*layout.SPECIAL_WORDS, "a", "b"]
    captions = np.tile([1, 4, 5, 2], (pictures, 1))
    few = (np.ones((2, width)), captions[:2], np.arange(2), ["0.png", "1.png"])
    layout.write_folder(folder, words, {"train": few, "val": few})
    (folder / "train2014_images.txt").unlink()
    with h5py.File(folder / CAPTIONS, "a") as file:
        del file["train_captions"], file["train_image_idxs"]
        file["train_captions"] = captions
        file["train_image_idxs"] = np.arange(pictures)
    with h5py.File(folder / FEATURES, "w") as file:
        chunks = (64, width) if packed else None
        made = file.create_dataset(
            "features", (pictures, width), "f4", chunks=chunks, compression=packed
        )
        rng = np.random.default_rng(0)
        for begin in range(0, pictures, 64):
            part = made[begin : begin + 64]
            made[begin : begin + 64] = rng.normal(size=part.shape).astype("f2")
    return folder


@pytest.mark.parametrize("packed", [None, "lzf"])
def test_no_copy_of_all_features_is_made(tmp_path: Path, packed: str | None) -> None:
    """They would take 49 MB; opening, checking and training take half of it."""
    folder = wide_folder(tmp_path / "wide", 3_000, 4096, packed)
    settings = train.Settings(str(folder), hidden_dim=4, wordvec_dim=4, batch=64)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        trained, job = train.build(settings)
        for _ in range(5):
            job.update(rng.integers(0, 3_000, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert trained.data.train.features.nbytes == 49_152_000
    assert peak < 25_000_000, f"{peak:,} bytes at the peak"


def test_a_bad_row_far_down_is_named(tmp_path: Path) -> None:
    folder = wide_folder(tmp_path / "wide", 3_000, 1024)
    with h5py.File(folder / FEATURES, "a") as file:
        file["features"][2_998, 1_023] = np.nan
    with pytest.raises(layout.DataError, match="row 2998 of 'features'"):
        data.load_data(folder)


def test_full_features(copy: Path) -> None:
    for split in ("train", "val"):
        name = layout.features_file(split)
        with h5py.File(copy / name) as file:
            wide = np.repeat(file["features"][:], 2, axis=1)
        with h5py.File(copy / layout.features_file(split, "full"), "w") as file:
            file["features"] = wide
    assert data.load_data(copy, "full").train.input_dim == 352
    assert data.load_data(copy).train.input_dim == 176


def test_full_features_that_are_missing(copy: Path) -> None:
    with pytest.raises(layout.DataError, match=r"train2014_vgg16_fc7\.h5 is missing"):
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
