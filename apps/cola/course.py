"""The course's preparation of CoLA: word ids and labels in NumPy's files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from apps.cola.sentences import (
    MAX_LETTERS,
    Corpus,
    DataError,
    Sentence,
    Sentences,
    course_words,
)
from apps.errors import first
from apps.texts import read_text, split_lines
from minigrad.io.damaged import reading
from minigrad.io.numpy_files import load_npy

# The course trains on the first of CoLA's training sentences, validates on the rest.
COURSE_TRAIN = 7_000
COURSE_UNKNOWN, COURSE_CLS, COURSE_PAD = "UNK", "CLS", "PAD"
SILENT = (COURSE_CLS, COURSE_PAD)
COURSE_MIN_COUNT = 5
VOCABULARY_FILE = "word_to_ix.csv"
MAX_VOCABULARY = 2**24  # bytes; the course's has 17,000
MAX_DIGITS = 9  # of a word's number
MAX_IDS = 2**24  # of a file; the course's largest has 301,000
AGAIN = "Copy the file again."


def number_words(sentences: Iterable[Sequence[str]]) -> dict[str, int]:
    """Number the words of training sentences as the course does.

    The vocabulary has the words that stand in them at least 5 times, in the order in
    which they are first seen, numbered from 1; the last of them is dropped, as it is in
    the course's files.
    """
    counts = Counter(word for words in sentences for word in words)
    kept = [word for word, count in counts.items() if count >= COURSE_MIN_COUNT]
    mark = max(len(kept), 1)
    vocabulary = {word: n for n, word in enumerate(kept[:-1], start=1)}
    return vocabulary | {COURSE_UNKNOWN: 0, COURSE_CLS: mark, COURSE_PAD: mark + 1}


def load_course(folder: Path) -> Corpus:
    """Read the course's four arrays and their vocabulary, and check all of it.

    An array has word ids, a row a sentence: its words, `CLS`, then `PAD` up to the end;
    or labels. What was unknown stays so.
    Raises: DataError, one message that names the file, the row, what is wrong, and a
        way out.
    """
    vocabulary = _load_vocabulary(folder / VOCABULARY_FILE)
    train_ids, train_labels = _load_arrays(folder, "train", vocabulary)
    val_ids, val_labels = _load_arrays(folder, "val", vocabulary)
    if train_ids.shape[1] != val_ids.shape[1]:
        raise DataError(
            f"{folder}: training rows are {train_ids.shape[1]} ids long but validation "
            f"rows {val_ids.shape[1]}. Both must come from one preparation."
        )
    said = {n: word for word, n in vocabulary.items() if word not in SILENT}

    def sentences(ids: np.ndarray, labels: np.ndarray) -> Sentences:
        return tuple(
            Sentence(" ".join(said[n] for n in row if n in said), y, "course")
            for row, y in zip(ids.tolist(), labels.tolist(), strict=True)
        )

    train = sentences(train_ids, train_labels)
    validation = sentences(val_ids, val_labels)
    return Corpus(folder.name, train, validation, vocabulary=vocabulary)


def _load_vocabulary(path: Path) -> dict[str, int]:
    _require_file(path)
    vocabulary: dict[str, int] = {}
    lines = split_lines(read_text(path, "a vocabulary", DataError, MAX_VOCABULARY))
    for number, line in enumerate(lines, start=1):
        word, comma, index = line.rpartition(",")
        known = index.isdecimal() and len(index) <= MAX_DIGITS
        if not comma or not known or word in vocabulary or len(line) > MAX_LETTERS:
            raise DataError(
                f"{path}, line {number} is {line!r:.80}, but must be a new word, a "
                f"comma and its number. {AGAIN}"
            )
        vocabulary[word] = int(index)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise DataError(
            f"{path} must number its {len(vocabulary):,} words from 0 to "
            f"{len(vocabulary) - 1:,}, each one once. {AGAIN}"
        )
    if missing := {COURSE_UNKNOWN, COURSE_CLS, COURSE_PAD} - set(vocabulary):
        raise DataError(f"{path} lacks {', '.join(sorted(missing))}. {AGAIN}")
    return vocabulary


def _load_arrays(
    folder: Path, split: str, vocabulary: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    path, labels_path = folder / f"{split}_inxs.npy", folder / f"{split}_labels.npy"
    ids, labels = _load_array(path, 2), _load_array(labels_path, 1)
    if len(ids) != len(labels):
        raise DataError(
            f"{labels_path} has {len(labels)} labels for the {len(ids)} sentences of "
            f"{path.name}. Take both from one preparation."
        )
    bad = (ids < 0) | (ids >= len(vocabulary))
    if (row := first(np.any(bad, axis=1))) is not None:
        raise DataError(
            f"{path}: row {row} has the word id {ids[row][bad[row]][0]}, outside the "
            f"{len(vocabulary):,} words of {VOCABULARY_FILE}. Take both from one "
            "preparation."
        )
    _require_short(path, ids, vocabulary)
    if (row := first(~np.isin(labels, (0, 1)))) is not None:
        raise DataError(
            f"{labels_path}: row {row} is {labels[row]}, but a label is 1 (acceptable) "
            f"or 0 (unacceptable). {AGAIN}"
        )
    return ids, labels


def _require_short(path: Path, ids: np.ndarray, vocabulary: dict[str, int]) -> None:
    """Raise where the words of a row are too many to be a sentence, or none."""
    if ids.shape[1] > MAX_LETTERS:
        raise DataError(
            f"{path}: a row has {ids.shape[1]:,} ids, and {MAX_LETTERS:,} are the "
            "most. Cut its rows."
        )
    lengths = np.zeros(len(vocabulary), np.int64)
    for word, number in vocabulary.items():
        if word not in SILENT and course_words(word):
            lengths[number] = len(word)
    letters: np.ndarray = lengths[ids].sum(axis=1)
    if (row := first(letters == 0)) is not None:
        raise DataError(
            f"{path}: row {row} has no word. Leave it out, and its label too."
        )
    if (row := first(letters > MAX_LETTERS)) is not None:
        raise DataError(
            f"{path}: the words of row {row} have {letters[row]:,} letters, and "
            f"{MAX_LETTERS:,} are the most. Copy it and {VOCABULARY_FILE} again."
        )


def _load_array(path: Path, ndim: int) -> np.ndarray:
    _require_file(path)
    with reading(path, "an array of NumPy's", DataError):
        array = load_npy(path)
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{path} is {array.dtype} of shape {array.shape}, but must be whole "
            f"numbers with {ndim} axes. {AGAIN}"
        )
    if not 0 < array.size <= MAX_IDS:
        raise DataError(
            f"{path} has shape {array.shape}: nothing is in it, or more than the "
            f"{MAX_IDS:,} numbers that are read. {AGAIN}"
        )
    return array.astype(np.int64)


def _require_file(path: Path) -> None:
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing. Check the folder's name, or copy the file there."
        )
