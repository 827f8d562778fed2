"""Which numbers does a captioning folder hold? Files in, checked arrays out.

A folder has the file names of Stanford's CS231n copy of COCO:

- `coco2014_captions.h5`: `{train,val}_captions` (M, 17) word ids and
  `{train,val}_image_idxs` (M,), the row of each caption's picture in the features;
- `{train,val}2014_vgg16_fc7_pca.h5`: `features` (P, D), one row a picture;
- `coco2014_vocab.json`: `idx_to_word` and `word_to_idx`;
- optionally `{train,val}2014_images.txt`: a file name a picture, in `images/`;
- optionally `{train,val}2014_urls.txt`: an address a picture, empty if unknown;
- optionally `{train,val}2014_vgg16_fc7.h5`: the wider features that `full` asks for.

Everything is checked when the folder is opened, before anything is learned from it.
Features stay on disk: the check reads them a few megabytes at a time, training a
minibatch at a time. Compressed ones are unpacked first, into a temporary file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from apps.captioning import unpacked
from apps.captioning.settings import Tokens, Width
from apps.errors import UserError
from apps.texts import read_json, read_text, split_lines
from minigrad.io import hdf5
from minigrad.io.damaged import reading

CAPTIONS_FILE = "coco2014_captions.h5"
VOCABULARY_FILE = "coco2014_vocab.json"
NULL, START, END, UNKNOWN = "<NULL>", "<START>", "<END>", "<UNK>"
SPECIAL_WORDS = (NULL, START, END, UNKNOWN)

# What is read and said one at a time.
UNITS: dict[Tokens, str] = {"word": "words", "char": "letters"}
CHUNK = 2**22  # bytes of features read at a time where all of them are gone through

LONGEST_WORD = 100  # letters; hardly any language has more
LONGEST_CAPTION = 1_000  # words; what is longer would fill the memory
NARROW = 16  # numbers; fewer may well be zero all at once
LONGEST_NAME = 255  # bytes, on every usual file system
# Half a character, which cannot be printed, or what steers a terminal.
NO_LETTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class DataError(UserError, ValueError):
    """A captioning folder does not hold what its layout promises."""


def features_file(split: str, width: Width = "pca") -> str:
    """Name the feature file of a split ("train" or "val")."""
    return f"{split}2014_vgg16_fc7{'_pca' if width == 'pca' else ''}.h5"


def images_file(split: str) -> str:
    """Name the list of a split's pictures."""
    return f"{split}2014_images.txt"


def urls_file(split: str) -> str:
    """Name the list of the addresses of a split's pictures."""
    return f"{split}2014_urls.txt"


@dataclass(frozen=True)
class Moments:
    """What all features of a split come to.

    Shapes: mean (D,); variance is that of one column, on average over the columns;
    zeros is the share of the numbers that are exactly 0.
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
        """Read the features of these pictures only, in the order asked for.

        Shapes: pictures (N,) -> (N, D) float32.
        Raises: DataError if a row holds NaN or infinity.
        """
        rows, positions = np.unique(pictures, return_inverse=True)
        # h5py reads rows by increasing index only, each one once.
        values = self._read(rows)
        if not np.isfinite(values).all():
            raise self._not_finite(values, rows)
        return values[positions]

    @cached_property
    def moments(self) -> Moments:
        """Go through all features once, a few megabytes at a time.

        Raises: DataError if a row holds NaN or infinity, was never written, or cannot
            be read.
        """
        count, width = self.features.shape
        total, squares = np.zeros(width), np.zeros(width)
        smallest, largest, zeros = np.inf, -np.inf, 0
        blank = np.zeros(count, bool)
        for rows, values in self._chunks():
            exact = values.astype(np.float64)
            with np.errstate(invalid="ignore"):
                total += exact.sum(axis=0)
            # A sum over NaN or infinity is not finite either, and sooner looked at.
            if not np.isfinite(total).all():
                raise self._not_finite(values, rows)
            squares += np.square(exact, out=exact).sum(axis=0)
            smallest = min(smallest, float(values.min()))
            largest = max(largest, float(values.max()))
            zeros += values.size - int(np.count_nonzero(values))
            blank[rows] = ~values.any(axis=1)
        if width >= NARROW:
            self._require_written(blank)
        mean = total / count
        variance = float(np.mean(squares / count - mean**2))
        return Moments(mean, variance, smallest, largest, zeros / (count * width))

    def with_captions(self, captions: np.ndarray, image_indices: np.ndarray) -> Split:
        """The same pictures with other captions. Shapes: (M, T), (M,)."""
        other = replace(self, captions=captions, image_indices=image_indices)
        # They are the features' own: going through gigabytes once is enough.
        for name in vars(self).keys() & {"moments", "_rows"}:
            vars(other)[name] = vars(self)[name]
        return other

    def references(self, picture: int) -> np.ndarray:
        """The captions of one picture. Shapes: (R, T)."""
        return self.captions[self.image_indices == picture]

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All row numbers and features in order. Shapes: (n,) and (n, D) each."""
        count, width = self.features.shape
        step = max(1, CHUNK // (4 * width))
        for begin in range(0, count, step):
            end = min(begin + step, count)
            yield np.arange(begin, end), self._read(slice(begin, end))

    @cached_property
    def _rows(self) -> Any:
        """What rows are read from: the dataset, or all of it unpacked."""
        if not unpacked.is_slow(self.features):
            return self.features
        try:
            return unpacked.unpack(self.features)
        except OSError as error:
            if not error.errno:
                raise
            raise DataError(
                f"{self._file}: 'features' are packed in chunks, and are unpacked into "
                f"a temporary file to be read in any order, but that failed ({error}). "
                "Make room there, set TMPDIR to another folder, or write them "
                "uncompressed and without chunks."
            ) from error

    @property
    def _file(self) -> str:
        return str(self.features.file.filename)

    def _read(self, rows: np.ndarray | slice) -> np.ndarray:
        with _reading(Path(self._file)):
            values = np.asarray(self._rows[rows])
        # A float64 beyond float32 becomes infinity, which is then refused by name.
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)

    def _require_written(self, blank: np.ndarray) -> None:
        """Raise where rows of zeros look as rows do that were never written.

        A single picture may well have no features; not half of all, and not the last
        ones, which are missing where writing was cut short.
        """
        last = int(np.argmin(blank[::-1])) if not blank.all() else len(blank)
        if last < 2 and 2 * int(blank.sum()) < max(2, len(blank)):
            return
        row = int(np.argmax(blank)) if last < 2 else len(blank) - last
        raise DataError(
            f"{self._file}: {int(blank.sum()):,} rows of 'features' hold nothing but "
            f"zeros, as rows do that were never written, row {row} for one. Was "
            "writing them cut short? Make the features again, or leave those pictures "
            "out."
        )

    def _not_finite(self, values: np.ndarray, rows: np.ndarray) -> DataError:
        row = int(rows[np.argmin(np.isfinite(values).all(axis=1))])
        return DataError(
            f"{self._file}: row {row} of 'features' holds NaN "
            "or infinity, from which nothing can be learned. Make the features "
            "of that picture again, or leave it out."
        )


@dataclass(frozen=True)
class Standard:
    """Features as a network likes them: around zero and of size one.

    Shapes: mean (D,), scale a number, features (N, D).
    """

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
        """Tell these words, captions and numbers of pictures from others.

        Not where the folder lies, and not the features, whose sums may differ in their
        last bit from machine to machine.
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
        """The words that captions say: up to `<END>`, special ones left out.

        With `unknown`, `<UNK>` stays, so that the gaps in a caption can be seen.
        """
        word_of = {index: word for word, index in self.vocabulary.items()}
        silent = {NULL, START, END} if unknown else set(SPECIAL_WORDS)
        said = [_spoken([word_of[int(i)] for i in ids], silent) for ids in captions]
        return said if self.tokens == "word" else ["".join(s).split() for s in said]


def _spoken(words: list[str], silent: set[str]) -> list[str]:
    ended = words[: words.index(END)] if END in words else words
    return [word for word in ended if word not in silent]


def load_data(folder: str | Path, width: Width = "pca") -> CaptionData:
    """Open a captioning folder and check all of it; features stay on disk.

    `width` chooses between a picture's short features and its full ones.

    Raises: DataError, one message that names the file, what is wrong, and a way out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. Give a folder in the cs231n layout "
            f"({CAPTIONS_FILE}, {VOCABULARY_FILE}, {features_file('train')}, ...)."
        )
    vocabulary = load_vocabulary(folder / VOCABULARY_FILE)
    train = _load_split(folder, "train", vocabulary, width)
    val = _load_split(folder, "val", vocabulary, width)
    if train.input_dim != val.input_dim:
        raise DataError(
            f"{folder}: training features are {train.input_dim} wide but validation "
            f"features {val.input_dim}. Both must come from the same extractor."
        )
    for split in (train, val):
        _ = split.moments  # refuses what is not finite now, not hours later
    return CaptionData(folder, vocabulary, train, val)


def load_vocabulary(path: Path) -> dict[str, int]:
    """Read word -> id from a vocabulary file and check that it is one-to-one."""
    _require_file(path)
    content = read_json(path, "a vocabulary in JSON", DataError)
    try:
        words, ids = list(content["idx_to_word"]), dict(content["word_to_idx"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected a dictionary with 'idx_to_word' (a list of words) and "
            "'word_to_idx' (the id of each word), but found something else. Copy the "
            "file again."
        ) from error
    _require_words(path, words)
    # True == 1 in Python, but a truth value is no id.
    whole = all(type(index) is int for index in ids.values())
    if not whole or {word: index for index, word in enumerate(words)} != ids:
        raise DataError(
            f"{path}: 'idx_to_word' and 'word_to_idx' disagree, so ids have no "
            "certain meaning. Write both from one list of words."
        )
    _require_special_words(path, ids)
    return ids


def _require_words(path: Path, words: list[Any]) -> None:
    odd = [word for word in words if not isinstance(word, str) or not word.strip()]
    if odd:
        raise DataError(
            f"{path}: 'idx_to_word' holds {odd[0]!r:.80}, which is no word. Write a "
            "list of words, each a text of at least one letter."
        )
    for word in words:
        if len(word) > LONGEST_WORD:
            raise DataError(
                f"{path}: 'idx_to_word' holds a word of {len(word):,} letters, "
                f"{word[:20]!r} and so on; {LONGEST_WORD:,} are the most. Shorten it, "
                "or leave it out."
            )
        if NO_LETTER.search(word):
            raise DataError(
                f"{path}: 'idx_to_word' holds {word!r:.80}, in which a control "
                "character or half of a character stands. Take that out of the word."
            )


def write_folder(
    folder: Path,
    words: Sequence[str],
    splits: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[str]]],
) -> None:
    """Write a captioning folder in the layout that `load_data` reads.

    Shapes: a split is (features (P, D), captions (M, T), image_indices (M,),
    P picture file names).
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {
        "idx_to_word": list(words),
        "word_to_idx": {word: index for index, word in enumerate(words)},
    }
    (folder / VOCABULARY_FILE).write_text(json.dumps(vocabulary), encoding="utf-8")
    with h5py.File(folder / CAPTIONS_FILE, "w") as file:
        for split, (_, captions, image_indices, _) in splits.items():
            file[f"{split}_captions"] = captions.astype(np.int32)
            file[f"{split}_image_idxs"] = image_indices.astype(np.int32)
    for split, (features, _, _, images) in splits.items():
        with h5py.File(folder / features_file(split), "w") as file:
            file["features"] = features.astype(np.float32)
        (folder / images_file(split)).write_text(
            "".join(f"{name}\n" for name in images), encoding="utf-8"
        )


def _load_split(
    folder: Path, split: str, vocabulary: dict[str, int], width: Width
) -> Split:
    path = folder / CAPTIONS_FILE
    with _open(path) as file:
        captions = _read_integers(file, f"{split}_captions", 2)
        image_indices = _read_integers(file, f"{split}_image_idxs", 1)
    # Stays open: its rows are read when a minibatch wants them.
    features = _load_features(folder / features_file(split, width))
    _check_captions(path, split, captions, vocabulary)
    _check_words(path, split, captions, vocabulary)
    _check_indices(path, split, image_indices, captions, features)
    images = _load_images(folder, split, len(features))
    urls = _load_list(folder / urls_file(split), len(features), "addresses")
    return Split(split, features, captions, image_indices, images, tuple(urls))


def _load_features(path: Path) -> h5py.Dataset:
    features = _dataset(_open(path), "features", 2, np.floating)
    if 0 in features.shape:
        raise DataError(
            f"{path}: 'features' has shape {features.shape}, which is empty. It needs "
            "a row for each picture. Make the file again."
        )
    with _reading(path):
        unpacked.require_sound(features, "features")
    return features


def _reading(path: Path) -> AbstractContextManager[None]:
    """Say what a file has that opens or not, and breaks off while it is read."""
    return reading(path, "HDF5", DataError, "Copy it again, or make it again")


def _require_file(path: Path) -> None:
    if not os.path.lexists(path):
        raise DataError(
            f"{path} is missing, and a captioning folder needs it. "
            "Check the folder's name, or copy the file there."
        )


def _open(path: Path) -> h5py.File:
    _require_file(path)
    with _reading(path):
        return hdf5.open_hdf5(path)


def _read_integers(file: h5py.File, name: str, ndim: int) -> np.ndarray:
    """All of a dataset of whole numbers; how they are stored makes no difference."""
    found = _dataset(file, name, ndim, np.integer)
    with _reading(Path(file.filename)):
        return hdf5.read_all(found, name)


def _dataset(file: h5py.File, name: str, ndim: int, kind: type) -> h5py.Dataset:
    with _reading(Path(file.filename)):
        dataset = hdf5.dataset(file, name)
    if dataset.ndim != ndim or not np.issubdtype(dataset.dtype, kind):
        raise DataError(
            f"{file.filename}: '{name}' is {dataset.dtype} of shape {dataset.shape}, "
            f"but must be {kind.__name__} with {ndim} axes. Write it again so."
        )
    return dataset


def _check_captions(
    path: Path, split: str, captions: np.ndarray, vocabulary: dict[str, int]
) -> None:
    if captions.shape[0] == 0 or captions.shape[1] < 2:
        raise DataError(
            f"{path}: '{split}_captions' has shape {captions.shape}, which leaves "
            "nothing to learn. It needs captions of at least two words."
        )
    bad = (captions < 0) | (captions >= len(vocabulary))
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        raise DataError(
            f"{path}: row {row} of '{split}_captions' has the word id "
            f"{captions[bad][0]}, outside the vocabulary of {len(vocabulary)} words. "
            f"Is {VOCABULARY_FILE} the one that these captions were made with?"
        )
    begun = captions[:, 0] == vocabulary[START]
    if not begun.all():
        row = int(np.argmin(begun))
        raise DataError(
            f"{path}: row {row} of '{split}_captions' does not begin with {START}, "
            "from which every caption is generated. Put it before the first word."
        )


def _check_words(
    path: Path, split: str, captions: np.ndarray, vocabulary: dict[str, int]
) -> None:
    """Raise for captions that say nothing, far too much, or never end."""
    null, end = vocabulary[NULL], vocabulary[END]
    words = (captions != null) & (captions != vocabulary[START]) & (captions != end)
    # What stands behind <END> is not said.
    words &= ~np.logical_or.accumulate(captions == end, axis=1)
    silent = np.flatnonzero(~words.any(axis=1))
    if len(silent):
        raise DataError(
            f"{path}: {len(silent):,} of the {len(captions):,} rows of "
            f"'{split}_captions' have no word ({_listed(silent)}), so there is nothing "
            f"to learn from them. Leave these rows out, of '{split}_image_idxs' too."
        )
    long = np.flatnonzero((captions[:, LONGEST_CAPTION:] != null).any(axis=1))
    if len(long):
        raise DataError(
            f"{path}: {len(long):,} of the {len(captions):,} rows of "
            f"'{split}_captions' are longer than {LONGEST_CAPTION:,} words "
            f"({_listed(long)}). Cut such captions, or leave them out."
        )
    if split == "train" and not (captions == end).any():
        raise DataError(
            f"{path}: no row of '{split}_captions' has {END}, by which a network "
            "learns where a caption ends. Put it behind the last word of each."
        )


def _listed(rows: np.ndarray, most: int = 5) -> str:
    """The first of some rows, and how many more there are."""
    shown = ", ".join(map(str, rows[:most].tolist()))
    more = len(rows) - most
    return f"row{'s' * (len(rows) > 1)} {shown}" + (f" and {more:,} more" * (more > 0))


def _check_indices(
    path: Path,
    split: str,
    image_indices: np.ndarray,
    captions: np.ndarray,
    features: h5py.Dataset,
) -> None:
    if len(image_indices) != len(captions):
        raise DataError(
            f"{path}: {len(captions)} captions but {len(image_indices)} entries in "
            f"'{split}_image_idxs'. Every caption needs its picture's index."
        )
    bad = (image_indices < 0) | (image_indices >= len(features))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{path}: row {row} of '{split}_image_idxs' is {image_indices[row]}, but "
            f"{features.file.filename} has {len(features)} pictures. Do the captions "
            "and the features belong together?"
        )


def _require_special_words(path: Path, ids: dict[str, int]) -> None:
    missing = [word for word in SPECIAL_WORDS if word not in ids]
    if missing:
        raise DataError(
            f"{path}: the vocabulary lacks {', '.join(missing)}, with which captions "
            "are padded, begun and ended. Add them as its first words."
        )


def _load_images(folder: Path, split: str, count: int) -> tuple[Path, ...]:
    path = folder / images_file(split)
    names = _load_list(path, count, "pictures")
    for row, name in enumerate(names):
        if not _is_inside(name):
            raise DataError(
                f"{path}: line {row + 1} is {name!r:.80}, which is no file inside "
                "images/. Write the picture's name there, such as photo.jpg."
            )
    return tuple(folder / "images" / name for name in names)


def _is_inside(name: str) -> bool:
    """Whether a name can be that of a file in a folder, on any usual system."""
    place = PurePosixPath(name)
    short = all(len(os.fsencode(part)) <= LONGEST_NAME for part in place.parts)
    outside = place.is_absolute() or ".." in place.parts or "\\" in name
    return bool(place.parts) and short and not outside


def _load_list(path: Path, count: int, things: str) -> list[str]:
    """The lines of an optional file that has one for each row of the features."""
    if not os.path.lexists(path):
        return []
    lines = split_lines(read_text(path, f"a list of {things}", DataError))
    if len(lines) != count:
        raise DataError(
            f"{path} names {len(lines)} {things}, but the features have {count} rows. "
            "Write one line a row, or remove the file: training does without."
        )
    return lines
