"""Sentences with labels, and files of them in CoLA's layout.

A line has four columns, and there is no header:

    source <tab> label (1 acceptable, 0 not) <tab> the author's mark <tab> sentence

Source: Warstadt, Singh and Bowman, "Neural Network Acceptability Judgments", TACL 2019.
"""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from apps.errors import UserError
from apps.texts import decode, read_bytes, split_lines

MAX_BYTES = 2**26  # a text larger than this is an attack, or a mistake
MAX_SENTENCES = 1_000_000  # CoLA has 10,657
MAX_LETTERS = 2_000  # of a sentence; CoLA's longest has 231

FETCH = "fetch CoLA by 'minigrad cola data download'"


class DataError(UserError, ValueError):
    """A corpus does not hold what its layout promises."""


@dataclass(frozen=True)
class Sentence:
    """A sentence and whether it is acceptable (label 1) or not (0).

    `source` is CoLA's code of a publication, or the embedded grammar's phenomenon.
    """

    text: str
    label: int
    source: str


Sentences = tuple[Sentence, ...]


@dataclass(frozen=True)
class Corpus:
    """Sentences to learn from, to validate on, and others to evaluate on, by name.

    `grouping` says what a sentence's source is: "source", or "phenomenon".
    `vocabulary` numbers the words where the files did that, as the course's do.
    """

    name: str
    train: Sentences
    validation: Sentences
    others: Mapping[str, Sentences] = field(default_factory=dict)
    grouping: str = "source"
    vocabulary: Mapping[str, int] | None = None

    @property
    def splits(self) -> dict[str, Sentences]:
        """All parts by name, "train" and "validation" first."""
        return {"train": self.train, "validation": self.validation, **self.others}

    @cached_property
    def fingerprint(self) -> str:
        """Tell these sentences and labels from others, wherever they lie."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            for s in split:
                digest.update(f"{s.source}\t{s.label}\t{s.text}\n".encode())
            digest.update(b"\n")
        return digest.hexdigest()


def read_tsv(path: Path) -> Sentences:
    """Read the sentences of one file in CoLA's layout.

    Raises: DataError if it is missing or empty, or else names the line.
    """
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing. Give a file of sentences in CoLA's layout, or {FETCH}."
        )
    content = read_bytes(path, "sentences in CoLA's layout", DataError, MAX_BYTES)
    return parse_tsv(content, path)


def parse_tsv(content: bytes, place: Path | str) -> Sentences:
    """Read sentences from a file's bytes; `place` is its name. Raises: DataError."""
    lines = split_lines(decode(content, str(place), DataError))
    if lines == [""]:
        raise DataError(f"{place} is empty. Copy it again.")
    if len(lines) > MAX_SENTENCES:
        raise DataError(
            f"{place} has {len(lines):,} lines, and {MAX_SENTENCES:,} are the most "
            "that are read. Give fewer."
        )
    return tuple(
        _parse_line(line, f"{place}, line {n}") for n, line in enumerate(lines, start=1)
    )


def format_tsv(sentences: Iterable[Sentence]) -> str:
    """Write sentences in CoLA's layout, so that `parse_tsv` gives them back."""
    return "".join(
        f"{s.source}\t{s.label}\t{'' if s.label else '*'}\t{s.text}\n"
        for s in sentences
    )


def _parse_line(line: str, place: str) -> Sentence:
    if problem := _problem_of(line):
        raise DataError(f"{place} {problem}. Mend or remove the line.")
    source, label, _, text = line.split("\t")
    return Sentence(text, int(label), source)


def _problem_of(line: str) -> str:
    """What is wrong with a line; "" if nothing is."""
    columns = line.split("\t")
    if len(columns) != 4:
        return (
            f"has {len(columns)} columns, but must have 4, with a tab between two: "
            "source, label, mark, sentence"
        )
    _, label, _, text = columns
    if label not in ("0", "1"):
        return (
            f"has the label {label!r:.40}, but a label is 1 (acceptable) or 0 "
            "(unacceptable); there is no line of headings"
        )
    if not course_words(text):
        return f"has no sentence, for there is no word in {text!r:.40}"
    if len(line) > MAX_LETTERS:
        return f"is {len(line):,} letters long, and {MAX_LETTERS:,} are the most"
    return ""


def course_words(text: str) -> list[str]:
    """Split a sentence as the course does: no punctuation, no capitals, white space."""
    kept = text.translate(str.maketrans("", "", string.punctuation))
    return kept.lower().split()
