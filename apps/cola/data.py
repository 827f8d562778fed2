"""Corpora in CoLA's layout: a folder, the published zip, or the course's arrays.

A folder has `in_domain_train.tsv` and perhaps `in_domain_dev.tsv` and
`out_of_domain_dev.tsv`, in itself or in `raw/`.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path, PurePosixPath

from apps.cola.course import COURSE_TRAIN, VOCABULARY_FILE, corpus_of, load_prepared
from apps.cola.sentences import (
    FETCH,
    MAX_BYTES,
    Corpus,
    DataError,
    Sentences,
    format_tsv,
    parse_tsv,
    read_tsv,
)
from apps.cola.settings import Division
from apps.files import whole_folder
from minigrad.io.damaged import open_regular, reading
from minigrad.io.limits import unpack

TRAIN_FILE = "in_domain_train.tsv"
VALIDATION_FILE = "in_domain_dev.tsv"
OTHER_FILE = "out_of_domain_dev.tsv"
FILES = (TRAIN_FILE, VALIDATION_FILE, OTHER_FILE)

COLA_TRAIN = 8_551  # sentences, by which CoLA is known
MAX_MEMBERS = 10_000  # of a zip; more are an attack

# GLUE's names for the same files in the same layout.
GLUE = {"train.tsv": TRAIN_FILE, "dev.tsv": VALIDATION_FILE}
# Where the files may stand in a folder, as in the published zips of CoLA and of GLUE.
INSIDE = ("raw", "cola_public/raw", "original/raw", "CoLA", "CoLA/original/raw")


def load_corpus(path: Path, division: Division | None = None) -> Corpus:
    """Open a folder or a zip in CoLA's layout, or a folder of the course's arrays.

    `division`: "course" trains on the first 7,000 sentences of `in_domain_train.tsv`
    and validates on the others (both development files are further splits);
    "published" trains on all of them and validates on `in_domain_dev.tsv`. By default
    CoLA's own 8,551 sentences are divided as in the course, others as published.

    Raises: DataError, one message that names the file, what is wrong, and a way out.
    """
    if os.path.lexists(path / VOCABULARY_FILE):
        return corpus_of(load_prepared(path), path.name)
    is_zip = os.path.lexists(path) and not path.is_dir() and path.suffix != ".tsv"
    files = _read_zip(path) if is_zip else _read_folder(path)
    train = files.pop(TRAIN_FILE)
    if division == "course" or (division is None and len(train) == COLA_TRAIN):
        train, validation = _course_division(train, path)
    elif VALIDATION_FILE in files:
        validation = files.pop(VALIDATION_FILE)
    else:
        raise DataError(
            f"{path} has no {VALIDATION_FILE}, so there is nothing to validate on. Put "
            "that file there, in the layout of the other."
        )
    others = {name.removesuffix(".tsv"): split for name, split in files.items()}
    return Corpus(path.name, train, validation, others)


def write_corpus(folder: Path, corpus: Corpus) -> None:
    """Write a corpus's training and validation sentences into a new folder.

    `load_corpus` gives them back, if they are divided as published.
    """
    with whole_folder(folder) as unfinished:
        for name, split in zip(FILES, (corpus.train, corpus.validation), strict=False):
            (unfinished / name).write_bytes(format_tsv(split).encode())


def _read_folder(folder: Path) -> dict[str, Sentences]:
    if folder.is_file():
        raise DataError(
            f"{folder} is one file of sentences. Put it into a folder as {TRAIN_FILE}, "
            f"others to validate on as {VALIDATION_FILE}, and give the folder."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder and no zip in CoLA's layout. Give a folder with "
            f"{TRAIN_FILE}, or {FETCH}."
        )
    inside = folder / "raw" if (folder / "raw" / TRAIN_FILE).is_file() else folder
    found = [name for name in FILES if os.path.lexists(inside / name)]
    if TRAIN_FILE not in found:
        raise _missing(folder)
    return {name: read_tsv(inside / name) for name in found}


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
        f"CoLA's layout, or {FETCH}."
    )


def _read_zip(path: Path) -> dict[str, Sentences]:
    """Read the raw sentences inside a zip; nothing is unpacked to the disk."""
    with (
        reading(
            path, "a zip", DataError, f"Give a folder or the published zip, or {FETCH}"
        ),
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        return {
            name: parse_tsv(unpack(archive, member, MAX_BYTES), f"{path}:{name}")
            for name, member in _members(archive, path).items()
        }


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The zip's raw sentences: CoLA's published names, in whatever folder."""
    everything = archive.infolist()
    if len(everything) > MAX_MEMBERS:
        raise ValueError(f"it lists {len(everything):,} files")
    members = {
        name: member
        for member in everything
        for name in FILES
        if f"/{member.filename}".endswith(f"/raw/{name}")
    }
    if TRAIN_FILE not in members:
        glue = any(PurePosixPath(m.filename).name in GLUE for m in everything)
        unpacked = "It has GLUE's names: unpack it, and give its folder"
        raise DataError(
            f"{path} does not hold raw/{TRAIN_FILE}, which CoLA's published zip "
            f"does. {unpacked if glue else f'Instead, {FETCH}'}."
        )
    return members


def _course_division(sentences: Sentences, path: Path) -> tuple[Sentences, Sentences]:
    if len(sentences) <= COURSE_TRAIN:
        raise DataError(
            f"{path}: {TRAIN_FILE} has {len(sentences):,} sentences, but the course "
            f"trains on {COURSE_TRAIN:,} and validates on the others. Divide them as "
            "published instead."
        )
    return sentences[:COURSE_TRAIN], sentences[COURSE_TRAIN:]
