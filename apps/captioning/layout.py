"""The files of a captioning folder, named as in Stanford's CS231n copy of COCO.

- `coco2014_captions.h5`: `{train,val}_captions` (M, 17) word ids and
  `{train,val}_image_idxs` (M,), the row of each caption's picture in the features;
- `{train,val}2014_vgg16_fc7_pca.h5`: `features` (P, D), one row a picture;
- `coco2014_vocab.json`: `idx_to_word` and `word_to_idx`;
- optionally `{train,val}2014_images.txt`: a file name a picture, in `images/`;
- optionally `{train,val}2014_urls.txt`: an address a picture, empty if unknown;
- optionally `{train,val}2014_vgg16_fc7.h5`: the wider features that `full` asks for.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from apps.errors import UserError, first
from apps.texts import read_json, read_text, split_lines
from minigrad.io import hdf5
from minigrad.io.damaged import reading
from minigrad.io.errors import RefusedError
from minigrad.io.limits import EXPANSION, in_words, is_too_much

CAPTIONS_FILE = "coco2014_captions.h5"
VOCABULARY_FILE = "coco2014_vocab.json"
NULL, START, END, UNKNOWN = "<NULL>", "<START>", "<END>", "<UNK>"
SPECIAL_WORDS = (NULL, START, END, UNKNOWN)

LONGEST_WORD = 100  # letters; hardly any language has more
LONGEST_CAPTION = 1_000  # words; what is longer would fill the memory
LONGEST_NAME = 255  # bytes, on every usual file system
# Half a character, which cannot be printed, or what steers a terminal.
NO_LETTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class DataError(UserError, ValueError):
    """A captioning folder does not hold what its layout promises."""


def features_file(split: str, width: str = "pca") -> str:
    """Name the feature file of a split ("train" or "val"), "pca" or "full"."""
    return f"{split}2014_vgg16_fc7{'_pca' if width == 'pca' else ''}.h5"


def list_file(split: str, kind: str) -> str:
    """Name the list of a split's pictures ("images") or of their addresses ("urls")."""
    return f"{split}2014_{kind}.txt"


def write_folder(
    folder: Path,
    words: Sequence[str],
    splits: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[str]]],
) -> None:
    """Write a captioning folder.

    Shapes: a split is (features (P, D), captions (M, T), image_indices (M,),
    P picture file names).
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = {word: index for index, word in enumerate(words)}
    text = json.dumps({"idx_to_word": list(words), "word_to_idx": ids})
    (folder / VOCABULARY_FILE).write_text(text, encoding="utf-8")
    with h5py.File(folder / CAPTIONS_FILE, "w") as file:
        for split, (_, captions, image_indices, _) in splits.items():
            file[f"{split}_captions"] = captions.astype(np.int32)
            file[f"{split}_image_idxs"] = image_indices.astype(np.int32)
    for split, (features, _, _, images) in splits.items():
        with h5py.File(folder / features_file(split), "w") as file:
            file["features"] = features.astype(np.float32)
        lines = "".join(f"{name}\n" for name in images)
        (folder / list_file(split, "images")).write_text(lines, encoding="utf-8")


def load_vocabulary(path: Path) -> dict[str, int]:
    """Read word -> id from a vocabulary file and check that it is one-to-one."""
    _require_file(path)
    content = read_json(path, "a vocabulary in JSON", DataError)
    try:
        words, ids = list(content["idx_to_word"]), dict(content["word_to_idx"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected a dictionary with 'idx_to_word', a list of words, and "
            "'word_to_idx', the id of each. Copy the file again."
        ) from error
    for word in words:
        if problem := _problem_of(word):
            raise DataError(
                f"{path}: 'idx_to_word' holds {problem}. Mend it, or leave it out."
            )
    # True == 1 in Python, but a truth value is no id.
    whole = all(type(index) is int for index in ids.values())
    if not whole or dict(zip(words, range(len(words)), strict=True)) != ids:
        raise DataError(
            f"{path}: 'idx_to_word' and 'word_to_idx' disagree. Write both from one "
            "list of words."
        )
    if missing := [word for word in SPECIAL_WORDS if word not in ids]:
        raise DataError(
            f"{path}: the vocabulary lacks {', '.join(missing)}, which captions need. "
            "Add them as its first words."
        )
    return ids


def _problem_of(word: Any) -> str:
    """What is wrong with a word; "" if nothing is."""
    if not isinstance(word, str) or not word.strip():
        return f"{word!r:.80}, which is no word"
    if len(word) > LONGEST_WORD:
        return (
            f"a word of {len(word):,} letters, {word[:20]!r} and so on; "
            f"{LONGEST_WORD:,} are the most"
        )
    if NO_LETTER.search(word):
        return f"{word!r:.80}, in which a control character or half of a character is"
    return ""


def open_features(path: Path) -> h5py.Dataset:
    """Open the features of a split; they stay on disk."""
    _require_file(path)
    with reading_hdf5(path):
        # The file stays open: its rows are read when a minibatch wants them.
        features = _dataset(hdf5.open_hdf5(path), "features", 2, np.floating)
        if 0 in features.shape:
            raise DataError(
                f"{path}: 'features' has shape {features.shape}, which is empty. Make "
                "the file again, with a row for each picture."
            )
        size = math.prod(features.shape) * features.dtype.itemsize
        stored = features.id.get_storage_size()
        if is_too_much(size, stored):
            raise RefusedError(
                f"'features' in it unpacks from {in_words(stored)} to {in_words(size)},"
                f" and at most {EXPANSION}-fold is believed. If they are right, write "
                "them without compression, for example by h5repack -f NONE"
            )
    return features


def load_captions(
    folder: Path, split: str, vocabulary: dict[str, int], features: h5py.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Read a split's captions and the row of each one's picture, and check both."""
    path = folder / CAPTIONS_FILE
    name = f"'{split}_captions'"
    _require_file(path)
    with reading_hdf5(path), hdf5.open_hdf5(path) as file:
        captions, image_indices = (
            hdf5.read_all(_dataset(file, of, ndim, np.integer), of)
            for of, ndim in ((f"{split}_captions", 2), (f"{split}_image_idxs", 1))
        )
    _check_ids(name, path, captions, vocabulary)
    _check_words(name, path, captions, vocabulary)
    if split == "train" and not (captions == vocabulary[END]).any():
        raise DataError(
            f"{path}: no row of {name} has {END}, so that a network cannot learn where "
            "a caption ends. Put it behind the last word of each."
        )
    if len(image_indices) != len(captions):
        raise DataError(
            f"{path}: {len(captions)} captions but {len(image_indices)} entries in "
            f"'{split}_image_idxs'. Give each caption its picture's index."
        )
    bad = (image_indices < 0) | (image_indices >= len(features))
    if (row := first(bad)) is not None:
        raise DataError(
            f"{path}: row {row} of '{split}_image_idxs' is {image_indices[row]}, but "
            f"{features.file.filename} has {len(features)} pictures. Do the captions "
            "and the features belong together?"
        )
    return captions, image_indices


def load_images(folder: Path, split: str, count: int) -> tuple[Path, ...]:
    """Where a split's pictures are; empty if the folder does not list them."""
    path = folder / list_file(split, "images")
    names = load_list(path, count, "pictures")
    for row, name in enumerate(names):
        place = PurePosixPath(name)
        short = all(len(os.fsencode(part)) <= LONGEST_NAME for part in place.parts)
        outside = place.is_absolute() or ".." in place.parts or "\\" in name
        if not place.parts or not short or outside:
            raise DataError(
                f"{path}: line {row + 1} is {name!r:.80}, which is no file inside "
                "images/. Write a name there, such as photo.jpg."
            )
    return tuple(folder / "images" / name for name in names)


def load_list(path: Path, count: int, things: str) -> list[str]:
    """The lines of an optional file, one for each row of the features."""
    if not os.path.lexists(path):
        return []
    lines = split_lines(read_text(path, f"a list of {things}", DataError))
    if len(lines) != count:
        raise DataError(
            f"{path} names {len(lines)} {things}, but the features have {count} rows. "
            "Write one line a row, or remove the file: training does without."
        )
    return lines


def reading_hdf5(path: Path) -> AbstractContextManager[None]:
    """A clear error where a file cannot be opened or read."""
    return reading(path, "HDF5", DataError, "Copy it again, or make it again")


def _require_file(path: Path) -> None:
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing. Check the folder's name, or copy the file there."
        )


def _dataset(file: h5py.File, name: str, ndim: int, kind: type) -> h5py.Dataset:
    dataset = hdf5.dataset(file, name)
    if dataset.ndim != ndim or not np.issubdtype(dataset.dtype, kind):
        raise DataError(
            f"{file.filename}: '{name}' is {dataset.dtype} of shape {dataset.shape}, "
            f"but must be {kind.__name__} with {ndim} axes. Write it again so."
        )
    return dataset


def _check_ids(
    name: str, path: Path, captions: np.ndarray, vocabulary: dict[str, int]
) -> None:
    if captions.shape[0] == 0 or captions.shape[1] < 2:
        raise DataError(
            f"{path}: {name} has shape {captions.shape}, which leaves nothing to "
            "learn. Give captions of at least two words."
        )
    bad = (captions < 0) | (captions >= len(vocabulary))
    if (row := first(np.any(bad, axis=1))) is not None:
        raise DataError(
            f"{path}: row {row} of {name} has the word id {captions[bad][0]}, outside "
            f"the {len(vocabulary)} words of {VOCABULARY_FILE}. Give the vocabulary "
            "that these captions were made with."
        )
    if (row := first(captions[:, 0] != vocabulary[START])) is not None:
        raise DataError(
            f"{path}: row {row} of {name} does not begin with {START}. Put it before "
            "the first word, for captions are generated from it."
        )


def _check_words(
    name: str, path: Path, captions: np.ndarray, vocabulary: dict[str, int]
) -> None:
    """Raise for captions that say nothing, or far too much."""
    null, start, end = (vocabulary[word] for word in (NULL, START, END))
    # What stands behind <END> is not said.
    said = ~np.logical_or.accumulate(captions == end, axis=1)
    words = said & (captions != null) & (captions != start)
    long = (captions[:, LONGEST_CAPTION:] != null).any(axis=1)
    problems = {
        "have no word": ~words.any(axis=1),
        f"are longer than {LONGEST_CAPTION:,} words": long,
    }
    for problem, bad in problems.items():
        if rows := np.flatnonzero(bad).tolist():
            shown = ", ".join(map(str, rows[:5])) + ", ..." * (len(rows) > 5)
            raise DataError(
                f"{path}: {len(rows):,} of the {len(captions):,} rows of {name} "
                f"{problem} (row{'s' * (len(rows) > 1)} {shown}). Mend such captions, "
                "or leave them and their pictures' indices out."
            )


def is_slow(dataset: Any) -> bool:
    """Whether to read a row of a dataset is to read or unpack more than that row."""
    if dataset.chunks is None:
        return False
    return dataset.chunks[0] > 1 or dataset.id.get_create_plist().get_nfilters() > 0


def unpack(dataset: Any) -> np.ndarray:
    """A dataset as float32, in a temporary file without a name.

    HDF5 unpacks a whole chunk for each row that is read of it, so that minibatches of
    rows from anywhere would be read 100 times slower than from there.

    Shapes: (P, D) -> same.
    Raises: OSError if there is no room, and what h5py raises for a damaged file.
    """
    with tempfile.TemporaryFile(prefix="minigrad-") as file:
        # Writing a mapped file to a full disk would end the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * math.prod(dataset.shape))
        array = np.memmap(file, np.float32, "w+", shape=dataset.shape)
    for where in dataset.iter_chunks():
        # A float64 beyond float32 becomes infinity, which is then refused by name.
        with np.errstate(over="ignore"):
            array[where] = dataset[where]
    return array
