"""Which sentences does a corpus hold, and as which numbers does a network read them?

A corpus in CoLA's layout is a folder, or the published zip, with `in_domain_train.tsv`
and, where there are any, `in_domain_dev.tsv` and `out_of_domain_dev.tsv` (in the folder
itself or in `raw/`). A line has four columns and no header:

    source <tab> label (1 acceptable, 0 not) <tab> the author's mark <tab> sentence

Source: Warstadt, Singh and Bowman, "Neural Network Acceptability Judgments", TACL 2019.
"""

from __future__ import annotations

import hashlib
import os
import string
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from apps.cola.settings import Division
from apps.errors import UserError
from apps.files import whole_folder
from apps.texts import decode, read_bytes, read_text, split_lines
from minigrad.io.damaged import open_regular, reading
from minigrad.io.errors import TooLargeError
from minigrad.io.limits import check_size, unpack
from minigrad.io.numpy_files import load_npy

TRAIN_FILE = "in_domain_train.tsv"
VALIDATION_FILE = "in_domain_dev.tsv"
OTHER_FILE = "out_of_domain_dev.tsv"

# The course trains on the first of CoLA's training sentences, validates on the rest.
COURSE_TRAIN = 7_000
COLA_TRAIN = 8_551

MAX_BYTES = 2**26  # a text larger than this is an attack, or a mistake
MAX_SENTENCES = 1_000_000  # CoLA has 10,657
# Longer lines come of a missing quote or end of line, and would fill the memory.
MAX_LETTERS = 2_000  # of a sentence; CoLA's longest has 231
MAX_MEMBERS = 10_000  # of a zip; more are an attack

# GLUE's names for the same files in the same layout.
GLUE = {"train.tsv": TRAIN_FILE, "dev.tsv": VALIDATION_FILE}
# Where the files may stand in a folder, as in the published zips of CoLA and of GLUE.
INSIDE = ("raw", "cola_public/raw", "original/raw", "CoLA", "CoLA/original/raw")

Place = Path | str


class DataError(UserError, ValueError):
    """A corpus does not hold what its layout promises."""


@dataclass(frozen=True)
class Sentence:
    """A sentence and whether it is acceptable (label 1) or not (0).

    `source` says where it is from: CoLA's code of a publication, or the phenomenon that
    a sentence of the embedded grammar shows.
    """

    text: str
    label: int
    source: str


@dataclass(frozen=True)
class Corpus:
    """Sentences to learn from, to validate on, and others to evaluate on, by name.

    `grouping` says what a sentence's source is: "source", or "phenomenon".
    `vocabulary` numbers the words where the files did that, as the course's do.
    """

    name: str
    train: tuple[Sentence, ...]
    validation: tuple[Sentence, ...]
    others: Mapping[str, tuple[Sentence, ...]] = field(default_factory=dict)
    grouping: str = "source"
    vocabulary: Mapping[str, int] | None = None

    @property
    def splits(self) -> dict[str, tuple[Sentence, ...]]:
        """All parts by name, "train" and "validation" first."""
        return {"train": self.train, "validation": self.validation, **self.others}

    @cached_property
    def fingerprint(self) -> str:
        """Tell these sentences and labels from others, wherever they lie."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            for sentence in split:
                line = f"{sentence.source}\t{sentence.label}\t{sentence.text}\n"
                digest.update(line.encode())
            digest.update(b"\n")
        return digest.hexdigest()


def load_corpus(path: Path, division: Division | None = None) -> Corpus:
    """Open a folder or a zip in CoLA's layout, or a folder of the course's arrays.

    `division`: "course" trains on the first 7,000 sentences of `in_domain_train.tsv`
    and validates on the others (both development files are further splits);
    "published" trains on all of them and validates on `in_domain_dev.tsv`. By default
    CoLA's own 8,551 sentences are divided as in the course, others as published.

    Raises: DataError, one message that names the file, what is wrong, and a way out.
    """
    if os.path.lexists(path / VOCABULARY_FILE):
        return _corpus_of(load_prepared(path), path.name)
    files = _read_zip(path) if _is_zip(path) else _read_folder(path)
    train = files.pop(TRAIN_FILE)
    if division is None:
        division = "course" if len(train) == COLA_TRAIN else "published"
    if division == "published":
        validation = _validation_of(files, path)
    else:
        train, validation = _course_division(train, path)
    others = {name.removesuffix(".tsv"): split for name, split in files.items()}
    return Corpus(path.name, train, validation, others)


def read_tsv(path: Path) -> tuple[Sentence, ...]:
    """Read the sentences of one file in CoLA's layout.

    Raises: DataError if it is missing, empty or no UTF-8, or if a line does not have
        four columns, a label of 0 or 1, and a sentence; it names the line.
    """
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing. Give a file of sentences in CoLA's layout, or fetch "
            "CoLA by 'minigrad cola data download'."
        )
    content = read_bytes(path, "sentences in CoLA's layout", DataError, MAX_BYTES)
    return parse_tsv(content, path)


def parse_tsv(content: bytes, place: Place) -> tuple[Sentence, ...]:
    """Read sentences from the bytes of a file; `place` is its name in messages.

    Raises: DataError as `read_tsv` does.
    """
    lines = split_lines(decode(content, str(place), DataError))
    if lines == [""]:
        raise DataError(
            f"{place} is empty, so there is nothing to learn or judge. Copy it again."
        )
    if len(lines) > MAX_SENTENCES:
        raise DataError(
            f"{place} has {len(lines):,} lines, and at most {MAX_SENTENCES:,} "
            "sentences are read. Give fewer."
        )
    return tuple(
        _parse_line(line, f"{place}, line {number}")
        for number, line in enumerate(lines, start=1)
    )


def format_tsv(sentences: Iterable[Sentence]) -> str:
    """Write sentences in CoLA's layout, so that `parse_tsv` gives them back."""
    return "".join(
        f"{s.source}\t{s.label}\t{'' if s.label else '*'}\t{s.text}\n"
        for s in sentences
    )


def write_corpus(folder: Path, corpus: Corpus) -> None:
    """Write a corpus's training and validation sentences into a new folder.

    `load_corpus` gives them back, if they are divided as published.
    """
    with whole_folder(folder) as unfinished:
        for name, split in (
            (TRAIN_FILE, corpus.train),
            (VALIDATION_FILE, corpus.validation),
        ):
            (unfinished / name).write_bytes(format_tsv(split).encode())


def _parse_line(line: str, place: str) -> Sentence:
    columns = line.split("\t")
    if len(columns) != 4:
        raise DataError(
            f"{place} has {len(columns)} columns, but must have 4, with a tab between "
            "two: source, label, mark, sentence. Mend or remove the line."
        )
    source, label, _, text = columns
    if label not in ("0", "1"):
        raise DataError(
            f"{place} has the label {label!r:.40}, but a label is 1 (acceptable) or 0 "
            "(unacceptable). Mend or remove the line; there is no line of headings."
        )
    if not course_words(text):
        raise DataError(
            f"{place} has no sentence, for there is no word in {text!r:.40}. Write "
            "one, or remove the line."
        )
    if len(line) > MAX_LETTERS:
        raise DataError(
            f"{place} is {len(line):,} letters long, and {MAX_LETTERS:,} are the most. "
            "Is an end of line missing? Cut or remove the line."
        )
    return Sentence(text, int(label), source)


def _is_zip(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir() and path.suffix != ".tsv"


def _read_folder(folder: Path) -> dict[str, tuple[Sentence, ...]]:
    if folder.is_file():
        raise DataError(
            f"{folder} is one file of sentences. Put it into a folder under the name "
            f"{TRAIN_FILE}, others to validate on beside it as {VALIDATION_FILE}, and "
            "give the folder."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder and no zip in CoLA's layout. Give a folder with "
            f"{TRAIN_FILE}, or fetch CoLA by 'minigrad cola data download'."
        )
    raw = folder / "raw"
    inside = raw if (raw / TRAIN_FILE).is_file() else folder
    if not os.path.lexists(inside / TRAIN_FILE):
        raise _missing(folder)
    found = {TRAIN_FILE: read_tsv(inside / TRAIN_FILE)}
    for name in (VALIDATION_FILE, OTHER_FILE):
        if os.path.lexists(inside / name):
            found[name] = read_tsv(inside / name)
    return found


def _missing(folder: Path) -> DataError:
    """Say that a folder has no sentences, and where they may stand instead."""
    glue = [name for name in GLUE if (folder / name).is_file()]
    if glue:
        renamed = ", ".join(f"{name} to {GLUE[name]}" for name in glue)
        return DataError(
            f"{folder} has GLUE's names, and the layout that is read here: rename "
            f"{renamed}. (GLUE's test.tsv has no labels, and is not read.)"
        )
    for place in INSIDE:
        if any((folder / place / name).is_file() for name in (TRAIN_FILE, *GLUE)):
            return DataError(
                f"{folder} has no {TRAIN_FILE} itself, but {folder / place} has "
                "sentences: give that folder."
            )
    others = sorted(path.name for path in folder.glob("*.tsv"))[:3]
    hint = f" If it is {' or '.join(map(repr, others))}, rename that." if others else ""
    return DataError(
        f"{folder / TRAIN_FILE} is missing.{hint} Give a folder with sentences in "
        "CoLA's layout, or fetch CoLA by 'minigrad cola data download'."
    )


def _read_zip(path: Path) -> dict[str, tuple[Sentence, ...]]:
    """Read the raw sentences inside a zip; nothing is unpacked to the disk."""
    way_out = (
        "Give a folder or the published zip; fetch it by 'minigrad cola data download'"
    )
    with (
        reading(path, "a zip", DataError, way_out),
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        members = _members(archive, path)
        return {
            name: parse_tsv(unpack(archive, member, MAX_BYTES), f"{path}:{name}")
            for name, member in members.items()
        }


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The zip's raw sentences: CoLA's published names, in whatever folder."""
    everything = archive.infolist()
    if len(everything) > MAX_MEMBERS:
        raise ValueError(f"it lists {len(everything):,} files")
    members = {
        name: member
        for member in everything
        for name in (TRAIN_FILE, VALIDATION_FILE, OTHER_FILE)
        if f"/{member.filename}".endswith(f"/raw/{name}")
    }
    if TRAIN_FILE not in members:
        glue = any(PurePosixPath(m.filename).name in GLUE for m in everything)
        way_out = (
            "It has GLUE's names: unpack it, and give its folder"
            if glue
            else "Fetch that by 'minigrad cola data download'"
        )
        raise DataError(
            f"{path} does not hold raw/{TRAIN_FILE}, which CoLA's published zip "
            f"does. {way_out}."
        )
    return members


def _validation_of(
    files: dict[str, tuple[Sentence, ...]], path: Path
) -> tuple[Sentence, ...]:
    if VALIDATION_FILE not in files:
        raise DataError(
            f"{path} has no {VALIDATION_FILE}, so there is nothing to validate on. Put "
            "that file there, in the layout of the other."
        )
    return files.pop(VALIDATION_FILE)


def _course_division(
    sentences: tuple[Sentence, ...], path: Path
) -> tuple[tuple[Sentence, ...], tuple[Sentence, ...]]:
    if len(sentences) <= COURSE_TRAIN:
        raise DataError(
            f"{path}: {TRAIN_FILE} has {len(sentences):,} sentences, but the course "
            f"trains on {COURSE_TRAIN:,} and validates on the others. Divide them as "
            "published instead."
        )
    return sentences[:COURSE_TRAIN], sentences[COURSE_TRAIN:]


# The course's own preparation.

COURSE_UNKNOWN, COURSE_CLS, COURSE_PAD = "UNK", "CLS", "PAD"
COURSE_MIN_COUNT = 5
VOCABULARY_FILE = "word_to_ix.csv"
MAX_VOCABULARY = 2**24  # bytes; the course's has 17,000
MAX_DIGITS = 9  # of a word's number
MAX_IDS = 2**24  # of a file; the course's largest has 301,000


@dataclass(frozen=True)
class Prepared:
    """The course's arrays: word ids, a row a sentence, and labels.

    A row has a sentence's words, then `CLS`, then `PAD` up to the end.
    Shapes: train_ids (N, T), train_labels (N,), val_ids (M, T), val_labels (M,).
    """

    vocabulary: dict[str, int]
    train_ids: np.ndarray
    train_labels: np.ndarray
    val_ids: np.ndarray
    val_labels: np.ndarray


def course_words(text: str) -> list[str]:
    """Split a sentence as the course does: no punctuation, no capitals, white space."""
    kept = text.translate(str.maketrans("", "", string.punctuation))
    return kept.lower().split()


def prepare(sentences: Sequence[Sentence], train: int = COURSE_TRAIN) -> Prepared:
    """Number the words of sentences as the course does.

    The first `train` sentences are learned from. The vocabulary has the words that
    stand in them at least 5 times, in the order in which they are first seen, numbered
    from 1; the last of them is dropped, as it is in the course's files.

    Raises: DataError if no sentence is left to validate on.
    """
    if not 0 < train < len(sentences):
        raise DataError(
            f"{len(sentences):,} sentences cannot be divided after {train:,}: some "
            "must be left on both sides. Give more sentences."
        )
    split = [course_words(sentence.text) for sentence in sentences]
    vocabulary = _course_vocabulary(split[:train])
    width = max(map(len, split)) + 1
    try:
        check_size(8 * len(split) * width, "sentences, each padded to the longest,")
    except TooLargeError as error:
        raise DataError(f"The course's word ids: {error}.") from error
    ids = np.full((len(split), width), vocabulary[COURSE_PAD])
    for row, words in zip(ids, split, strict=True):
        row[: len(words)] = [vocabulary.get(word, 0) for word in words]
        row[len(words)] = vocabulary[COURSE_CLS]
    labels = np.array([sentence.label for sentence in sentences])
    return Prepared(
        vocabulary, ids[:train], labels[:train], ids[train:], labels[train:]
    )


def _course_vocabulary(sentences: Iterable[list[str]]) -> dict[str, int]:
    counts = Counter(word for words in sentences for word in words)
    kept = [word for word, count in counts.items() if count >= COURSE_MIN_COUNT]
    words = {word: number for number, word in enumerate(kept[:-1], start=1)}
    first = len(words) + 1
    return words | {COURSE_UNKNOWN: 0, COURSE_CLS: first, COURSE_PAD: first + 1}


def load_prepared(folder: Path) -> Prepared:
    """Read the course's four arrays and their vocabulary, and check all of it.

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
    return Prepared(vocabulary, train_ids, train_labels, val_ids, val_labels)


def _corpus_of(prepared: Prepared, name: str) -> Corpus:
    """The sentences of the course's arrays; what was unknown stays so."""
    words = {number: word for word, number in prepared.vocabulary.items()}
    silent = {prepared.vocabulary[mark] for mark in (COURSE_CLS, COURSE_PAD)}

    def sentences(rows: np.ndarray, labels: np.ndarray) -> tuple[Sentence, ...]:
        texts = (
            " ".join(words[n] for n in row if n not in silent) for row in rows.tolist()
        )
        pairs = zip(texts, labels.tolist(), strict=True)
        return tuple(Sentence(text, label, "course") for text, label in pairs)

    return Corpus(
        name,
        sentences(prepared.train_ids, prepared.train_labels),
        sentences(prepared.val_ids, prepared.val_labels),
        vocabulary=prepared.vocabulary,
    )


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
                "comma and its number. Copy the file again."
            )
        vocabulary[word] = int(index)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise DataError(
            f"{path} must number its {len(vocabulary):,} words from 0 to "
            f"{len(vocabulary) - 1:,}, each one once. Copy the file again."
        )
    missing = {COURSE_UNKNOWN, COURSE_CLS, COURSE_PAD} - set(vocabulary)
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(sorted(missing))}, with which sentences are "
            "ended, padded, or unknown words replaced. Copy the file again."
        )
    return vocabulary


def _load_arrays(
    folder: Path, split: str, vocabulary: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    path, labels_path = folder / f"{split}_inxs.npy", folder / f"{split}_labels.npy"
    ids, labels = _load_array(path, 2), _load_array(labels_path, 1)
    if len(ids) != len(labels):
        raise DataError(
            f"{labels_path} has {len(labels)} labels for the {len(ids)} sentences of "
            f"{path.name}. Each needs one: are both from one preparation?"
        )
    bad = (ids < 0) | (ids >= len(vocabulary))
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        raise DataError(
            f"{path}: row {row} has the word id {ids[row][bad[row]][0]}, outside the "
            f"vocabulary of {len(vocabulary):,} words. Is {VOCABULARY_FILE} the one "
            "that these ids were made with?"
        )
    _require_short(path, ids, vocabulary)
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{labels_path}: row {row} is {labels[row]}, but a label is 1 (acceptable) "
            "or 0 (unacceptable). Copy the file again."
        )
    return ids, labels


def _require_short(path: Path, ids: np.ndarray, vocabulary: dict[str, int]) -> None:
    """Raise where the words of a row are too many to be a sentence, or none."""
    if ids.shape[1] > MAX_LETTERS:
        raise DataError(
            f"{path}: a row has {ids.shape[1]:,} ids, and {MAX_LETTERS:,} are the "
            "most. Copy the file again, or cut its rows."
        )
    silent = (COURSE_CLS, COURSE_PAD)
    lengths = np.zeros(len(vocabulary), np.int64)
    for word, number in vocabulary.items():
        lengths[number] = len(word) * (word not in silent and bool(course_words(word)))
    letters = lengths[ids].sum(axis=1)
    if not letters.all():
        raise DataError(
            f"{path}: row {int(np.argmin(letters))} has no word, so there is nothing "
            "to learn or judge. Leave it out, and its label too."
        )
    if letters.max() > MAX_LETTERS:
        row = int(np.argmax(letters > MAX_LETTERS))
        raise DataError(
            f"{path}: the words of row {row} have {letters[row]:,} letters, and "
            f"{MAX_LETTERS:,} are the most. Copy the file again, or {VOCABULARY_FILE}."
        )


def _load_array(path: Path, ndim: int) -> np.ndarray:
    _require_file(path)
    with reading(path, "an array of NumPy's", DataError):
        array = load_npy(path)
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{path} is {array.dtype} of shape {array.shape}, but must be whole "
            f"numbers with {ndim} axes. Is it the right file?"
        )
    if 0 in array.shape:
        raise DataError(f"{path} has shape {array.shape}: nothing is in it.")
    if array.size > MAX_IDS:
        raise DataError(
            f"{path} has {array.size:,} numbers, and at most {MAX_IDS:,} are read. "
            "Is it the right file?"
        )
    return array.astype(np.int64)


def _require_file(path: Path) -> None:
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing, and the course's preparation has it. Check the "
            "folder's name, or copy the file there."
        )
