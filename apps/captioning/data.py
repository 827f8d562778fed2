"""Captioning data: checked captions, and features that stay on disk.

Everything is checked when the folder is opened (`layout` says what is in it): the check
reads features a few megabytes at a time, training a minibatch at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from apps.captioning import layout
from apps.captioning.layout import END, NULL, SPECIAL_WORDS, START, DataError
from apps.captioning.settings import Tokens, Width
from apps.errors import first

# What is read and said one at a time.
UNITS: dict[Tokens, str] = {"word": "words", "char": "letters"}
CHUNK = 2**22  # bytes of features read at a time where all of them are gone through
NARROW = 16  # numbers; fewer may well be zero all at once


@dataclass(frozen=True)
class Moments:
    """Statistics of a split's features.

    Shapes: mean (D,); variance is the mean over the columns; zeros the fraction of
    numbers that are 0.
    """

    mean: np.ndarray
    variance: float
    smallest: float
    largest: float
    zeros: float


@dataclass(frozen=True)
class Split:
    """One part of a data set: M captions of P pictures.

    Shapes: features (P, D) on disk, captions (M, T), image_indices (M,). `images` and
    `urls` have P entries, or none where the folder does not have their list.
    """

    name: str
    features: h5py.Dataset
    captions: np.ndarray
    image_indices: np.ndarray
    images: tuple[Path, ...]
    urls: tuple[str, ...] = ()

    @property
    def input_dim(self) -> int:
        """The width D of a picture's features."""
        return int(self.features.shape[1])

    def read_features(self, pictures: np.ndarray) -> np.ndarray:
        """Read the features of these pictures. Shapes: (N,) -> (N, D) float32.

        Raises: DataError if a row holds NaN or infinity.
        """
        rows, positions = np.unique(pictures, return_inverse=True)
        # h5py reads rows by increasing index only, each one once.
        values = self._read(rows)
        self._require_finite(values, rows)
        return values[positions]

    @cached_property
    def moments(self) -> Moments:
        """Go through all features once, a few megabytes at a time.

        Raises: DataError for NaN, infinity, and rows that cannot be read or were never
            written.
        """
        count, width = self.features.shape
        total, squares = np.zeros(width), np.zeros(width)
        smallest, largest, zeros = np.inf, -np.inf, 0
        blank = np.zeros(count, bool)
        step = max(1, CHUNK // (4 * width))
        for begin in range(0, count, step):
            values = self._read(slice(begin, begin + step))
            exact = values.astype(np.float64)
            with np.errstate(invalid="ignore"):
                total += exact.sum(axis=0)
            # A sum over NaN or infinity is not finite either.
            if not np.isfinite(total).all():
                self._require_finite(values, np.arange(begin, begin + step))
            squares += np.square(exact, out=exact).sum(axis=0)
            smallest = min(smallest, float(values.min()))
            largest = max(largest, float(values.max()))
            zeros += values.size - int(np.count_nonzero(values))
            blank[begin : begin + step] = ~values.any(axis=1)
        if width >= NARROW:
            self._require_written(blank)
        mean = total / count
        variance = float(np.mean(squares / count - mean**2))
        return Moments(mean, variance, smallest, largest, zeros / (count * width))

    def with_captions(self, captions: np.ndarray, image_indices: np.ndarray) -> Split:
        """The same pictures with other captions. Shapes: (M, T), (M,)."""
        other = replace(self, captions=captions, image_indices=image_indices)
        # Going through gigabytes of features once is enough.
        for name in vars(self).keys() & {"moments", "_rows"}:
            vars(other)[name] = vars(self)[name]
        return other

    def references(self, picture: int) -> np.ndarray:
        """The captions of one picture. Shapes: (R, T)."""
        return self.captions[self.image_indices == picture]

    @cached_property
    def _rows(self) -> Any:
        """What rows are read from: the dataset, or all of it layout."""
        if not layout.is_slow(self.features):
            return self.features
        try:
            return layout.unpack(self.features)
        except OSError as error:
            if not error.errno:
                raise
            raise DataError(
                f"{self._file}: 'features' are packed, and unpacking them into a "
                f"temporary file failed ({error}). Make room there, set TMPDIR to "
                "another folder, or write them uncompressed and without chunks."
            ) from error

    @property
    def _file(self) -> str:
        return str(self.features.file.filename)

    def _read(self, rows: np.ndarray | slice) -> np.ndarray:
        with layout.reading_hdf5(Path(self._file)):
            values = np.asarray(self._rows[rows])
        # A float64 beyond float32 becomes infinity, which is then refused by name.
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)

    def _require_written(self, blank: np.ndarray) -> None:
        """Raise where half of all rows, or the last ones, are zeros.

        Rows that were never written look so; a single picture may have no features.
        """
        last = int(np.argmin(blank[::-1])) if not blank.all() else len(blank)
        if last < 2 and 2 * int(blank.sum()) < max(2, len(blank)):
            return
        row = int(np.argmax(blank)) if last < 2 else len(blank) - last
        raise DataError(
            f"{self._file}: {int(blank.sum()):,} rows of 'features' hold nothing but "
            f"zeros, as rows do that were never written, row {row} for one. Make the "
            "features again, or leave those pictures out."
        )

    def _require_finite(self, values: np.ndarray, rows: np.ndarray) -> None:
        if (bad := first(~np.isfinite(values).all(axis=1))) is not None:
            raise DataError(
                f"{self._file}: row {rows[bad]} of 'features' holds NaN or infinity. "
                "Make that picture's features again, or leave it out."
            )


@dataclass(frozen=True)
class Standard:
    """Features with mean 0 and variance 1. Shapes: mean (D,), features (N, D)."""

    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, split: Split) -> Standard:
        """Take mean and scale from a split's pictures."""
        moments = split.moments
        # Pictures that are all alike have no scale; any will do.
        scale = np.sqrt(moments.variance) if moments.variance > 0 else 1.0
        return cls(moments.mean.astype(np.float32), float(scale))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Subtract the mean and divide by the scale."""
        return (features - self.mean) / np.float32(self.scale)


@dataclass(frozen=True)
class CaptionData:
    """A captioning folder, opened: two splits and the vocabulary they share.

    `tokens` says what the vocabulary's entries are: words, or letters (see `tokens`).
    """

    folder: Path
    vocabulary: dict[str, int]
    train: Split
    val: Split
    tokens: Tokens = "word"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of words, captions and numbers of pictures.

        Features differ in their last bit from machine to machine, so they are not in.
        """
        digest = hashlib.sha256(json.dumps(self.vocabulary).encode())
        for split in (self.train, self.val):
            digest.update(repr(split.features.shape).encode())
            for ids in (split.captions, split.image_indices):
                digest.update(np.ascontiguousarray(ids, "<i8").tobytes())
        return digest.hexdigest()

    def words(
        self, captions: Iterable[Iterable[int]], unknown: bool = False
    ) -> list[list[str]]:
        """The words of captions up to `<END>`; with `unknown`, `<UNK>` stays."""
        word_of = {index: word for word, index in self.vocabulary.items()}
        silent = {NULL, START, END} if unknown else set(SPECIAL_WORDS)
        said = []
        for ids in captions:
            words = takewhile(END.__ne__, (word_of[int(i)] for i in ids))
            said.append([word for word in words if word not in silent])
        return said if self.tokens == "word" else ["".join(s).split() for s in said]


def load_data(folder: str | Path, width: Width = "pca") -> CaptionData:
    """Open a captioning folder and check all of it; features stay on disk.

    Raises: DataError, one message that names the file, what is wrong, and a way out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. Give one in the cs231n layout, with "
            f"{layout.CAPTIONS_FILE} and the files beside it."
        )
    vocabulary = layout.load_vocabulary(folder / layout.VOCABULARY_FILE)
    train, val = (_load_split(folder, s, vocabulary, width) for s in ("train", "val"))
    if train.input_dim != val.input_dim:
        raise DataError(
            f"{folder}: training features are {train.input_dim} wide but validation "
            f"features {val.input_dim}. Take both from the same extractor."
        )
    for split in (train, val):
        _ = split.moments  # refuses what is not finite now, not hours later
    return CaptionData(folder, vocabulary, train, val)


def _load_split(
    folder: Path, split: str, vocabulary: dict[str, int], width: Width
) -> Split:
    features = layout.open_features(folder / layout.features_file(split, width))
    captions, image_indices = layout.load_captions(folder, split, vocabulary, features)
    images = layout.load_images(folder, split, len(features))
    path = folder / layout.list_file(split, "urls")
    urls = layout.load_list(path, len(features), "addresses")
    return Split(split, features, captions, image_indices, images, tuple(urls))
