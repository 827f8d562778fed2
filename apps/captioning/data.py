"""Which numbers does a captioning folder hold? Files in, checked arrays out.

A folder has the file names of Stanford's CS231n copy of COCO:

- `coco2014_captions.h5`: `{train,val}_captions` (M, 17) word ids and
  `{train,val}_image_idxs` (M,), the row of each caption's picture in the features;
- `{train,val}2014_vgg16_fc7_pca.h5`: `features` (P, D), one row a picture;
- `coco2014_vocab.json`: `idx_to_word` and `word_to_idx`;
- optionally `{train,val}2014_images.txt`: a file name a picture, in `images/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

CAPTIONS_FILE = "coco2014_captions.h5"
VOCABULARY_FILE = "coco2014_vocab.json"
NULL, START, END, UNKNOWN = "<NULL>", "<START>", "<END>", "<UNK>"
SPECIAL_WORDS = (NULL, START, END, UNKNOWN)


class DataError(ValueError):
    """A captioning folder does not hold what its layout promises."""


def features_file(split: str) -> str:
    """Name the feature file of a split ("train" or "val")."""
    return f"{split}2014_vgg16_fc7_pca.h5"


def images_file(split: str) -> str:
    """Name the list of a split's pictures."""
    return f"{split}2014_images.txt"


@dataclass(frozen=True)
class Split:
    """One part of a data set: M captions of P pictures.

    Shapes: features (P, D) on disk, captions (M, T), image_indices (M,).
    """

    name: str
    features: h5py.Dataset
    captions: np.ndarray
    image_indices: np.ndarray
    images: tuple[Path, ...]

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
        values = self.features[rows].astype(np.float32, copy=False)
        self._require_finite(values, rows)
        return values[positions]

    def references(self, picture: int) -> np.ndarray:
        """The captions of one picture. Shapes: (R, T)."""
        return self.captions[self.image_indices == picture]

    def _require_finite(self, values: np.ndarray, rows: np.ndarray) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = int(rows[np.argmin(finite)])
            raise DataError(
                f"{self.features.file.filename}: row {row} of 'features' holds NaN "
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
    def of(cls, split: Split, chunk: int = 4096) -> Standard:
        """Take mean and scale from a split's pictures, a chunk at a time."""
        count = len(split.features)
        total = np.zeros(split.input_dim)
        squares = np.zeros(split.input_dim)
        for begin in range(0, count, chunk):
            pictures = np.arange(begin, min(begin + chunk, count))
            rows = split.read_features(pictures).astype(np.float64)
            total += rows.sum(axis=0)
            squares += (rows**2).sum(axis=0)
        mean = total / count
        variance = np.mean(squares / count - mean**2)
        # Pictures that are all alike have no scale; any will do.
        scale = float(np.sqrt(variance)) if variance > 0 else 1.0
        return cls(mean.astype(np.float32), scale)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Subtract the mean and divide by the scale."""
        return (features - self.mean) / np.float32(self.scale)


@dataclass(frozen=True)
class CaptionData:
    """A captioning folder, opened: two splits and the vocabulary they share."""

    folder: Path
    vocabulary: dict[str, int]
    train: Split
    val: Split

    def words(self, captions: Iterable[Iterable[int]]) -> list[list[str]]:
        """The words that captions say: up to `<END>`, special ones left out."""
        word_of = {index: word for word, index in self.vocabulary.items()}
        return [_spoken([word_of[int(i)] for i in ids]) for ids in captions]


def _spoken(words: list[str]) -> list[str]:
    ended = words[: words.index(END)] if END in words else words
    return [word for word in ended if word not in SPECIAL_WORDS]


def load_data(folder: str | Path) -> CaptionData:
    """Open a captioning folder; features stay on disk until they are asked for.

    Raises: DataError, one message that names the file, what is wrong, and a way out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. --data takes a folder in the cs231n layout "
            f"({CAPTIONS_FILE}, {VOCABULARY_FILE}, {features_file('train')}, ...)."
        )
    vocabulary = load_vocabulary(folder / VOCABULARY_FILE)
    train = _load_split(folder, "train", vocabulary)
    val = _load_split(folder, "val", vocabulary)
    if train.input_dim != val.input_dim:
        raise DataError(
            f"{folder}: training features are {train.input_dim} wide but validation "
            f"features {val.input_dim}. Both must come from the same extractor."
        )
    return CaptionData(folder, vocabulary, train, val)


def load_vocabulary(path: Path) -> dict[str, int]:
    """Read word -> id from a vocabulary file and check that it is one-to-one."""
    _require_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        words, ids = list(content["idx_to_word"]), dict(content["word_to_idx"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected JSON with 'idx_to_word' (a list) and 'word_to_idx' "
            f"(a dictionary), but reading it gave {error!r}. Copy the file again."
        ) from error
    if {word: index for index, word in enumerate(words)} != ids:
        raise DataError(
            f"{path}: 'idx_to_word' and 'word_to_idx' disagree, so ids have no "
            "certain meaning. Write both from one list of words."
        )
    _require_special_words(path, ids)
    return ids


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


def _load_split(folder: Path, split: str, vocabulary: dict[str, int]) -> Split:
    path = folder / CAPTIONS_FILE
    with _open(path) as file:
        captions = _dataset(file, f"{split}_captions", 2, np.integer)[:]
        image_indices = _dataset(file, f"{split}_image_idxs", 1, np.integer)[:]
    # Stays open: its rows are read when a minibatch wants them.
    features = _dataset(
        _open(folder / features_file(split)), "features", 2, np.floating
    )
    _check_captions(path, split, captions, vocabulary)
    _check_indices(path, split, image_indices, captions, features)
    images = _load_images(folder, split, len(features))
    return Split(split, features, captions, image_indices, images)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"{path} is missing, and a captioning folder needs it. "
            "Check the --data folder, or copy the file there."
        )


def _open(path: Path) -> h5py.File:
    _require_file(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read as HDF5 ({error}): it may be cut short or be "
            "something else. Copy it again."
        ) from error


def _dataset(file: h5py.File, name: str, ndim: int, kind: type) -> h5py.Dataset:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(
            f"{file.filename}: dataset '{name}' is missing; the file holds "
            f"{sorted(file)}. The names must be those of the cs231n files."
        )
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
    if not path.is_file():
        return ()
    names = path.read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise DataError(
            f"{path} names {len(names)} pictures, but the features have {count} rows. "
            "Write one name a row, or remove the file to do without pictures."
        )
    return tuple(folder / "images" / name for name in names)
