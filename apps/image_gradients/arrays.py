"""Pictures in an .npz of arrays, read one at a time, after checks of its sizes.

So a file of thousands takes no more memory than one picture, and a small file that
unpacks to gigabytes takes none.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from apps.errors import UserError
from apps.image_gradients.squeezenet import CLASSES
from apps.pictures import LIMIT, check_is_file, check_memory, explained
from minigrad.io.damaged import reading
from minigrad.io.errors import RefusedError, TooLargeError
from minigrad.io.limits import in_words, unpack
from minigrad.io.numpy_files import HEADERS

MOST = 100_000  # pictures in a file
# Photos do not pack to a fiftieth; pictures of one colour do, and so does an attack.
FREE = 2**30  # bytes that pictures may unpack to, whatever they are packed to
EXPANSION = 50
AGAIN = "Copy or download it again, or write it with NumPy's savez"


@dataclass(frozen=True)
class Member:
    """An array in an archive: what its header says, and the bytes that follow it."""

    stream: IO[bytes]
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype

    def rows(self) -> Iterator[np.ndarray]:
        """Read what the first axis counts, one after the other if they lie so."""
        if self.by_columns:
            yield from self._read(self.shape)
        else:
            for _ in range(self.shape[0]):
                yield self._read(self.shape[1:])
        # Only at the end does zipfile compare the checksum.
        if self.stream.read(1):
            raise ValueError("there are more numbers in it than its header says")

    def _read(self, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape) * self.dtype.itemsize
        content = self.stream.read(count)
        if len(content) < count:
            raise EOFError
        array = np.frombuffer(content, self.dtype)
        return array.reshape(shape, order="F" if self.by_columns else "C")


def read_arrays(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Read pictures and their classes: `X` (N, H, W, 3) uint8 and `y` (N,) of a file.

    Not its `label_map`: to read that would be to run code from the file.
    Raises: UserError if the file cannot be read, or holds something else.
    """
    with explained(path):
        check_is_file(path)
        file = path.open("rb")
    with file, reading(path, "an .npz of pictures", UserError, AGAIN):
        archive = zipfile.ZipFile(file)
        y, X = _open(archive, "y", path), _open(archive, "X", path)
        _check_headers(X, y, path)
        labels = [int(label) for label in y.rows()]
        if not 0 <= min(labels) <= max(labels) < CLASSES:
            raise UserError(
                f"y in {path} goes from {min(labels)} to {max(labels)}, but ImageNet's "
                f"classes go from 0 to {CLASSES - 1}. Number them as ImageNet does."
            )
        pictures = X.rows()
        for label in labels:
            yield next(pictures), label
        next(pictures, None)  # checks the end


def _open(archive: zipfile.ZipFile, name: str, path: Path) -> Member:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise UserError(
            f"{path} has no array {name}. It must hold X, the pictures "
            "(N, H, W, 3), and y, their classes (N,)."
        ) from None
    stream: IO[bytes]
    if name == "y":
        stream = io.BytesIO(unpack(archive, member, most=16 * MOST))
    else:
        _check_unpacked(member)
        stream = archive.open(member)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"the version {version} of {name} is not one of numbers")
    return Member(stream, *HEADERS[version](stream))


def _check_unpacked(member: zipfile.ZipInfo) -> None:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedError(
            "it is packed in another way than NumPy packs. Write it again with NumPy's "
            "savez"
        )
    if member.file_size > max(FREE, EXPANSION * member.compress_size):
        raise TooLargeError(
            f"its pictures would unpack to {in_words(member.file_size)}, from "
            f"{in_words(member.compress_size)}; at most {in_words(FREE)}, or "
            f"{EXPANSION} times as much are believed. Write them with NumPy's savez"
        )


def _check_headers(X: Member, y: Member, path: Path) -> None:
    shape = X.shape
    if X.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise UserError(
            f"X in {path} is {X.dtype} {shape}. It must hold pictures: uint8 "
            "(N, H, W, 3), at least one, red, green and blue last."
        )
    if y.dtype.kind not in "iu" or y.shape != shape[:1]:
        raise UserError(
            f"y in {path} is {y.dtype} {y.shape}. It must hold one whole number for "
            f"each picture of X: integers ({shape[0]},)."
        )
    if shape[0] > MOST:
        raise TooLargeError(f"it has {shape[0]:,} pictures; at most {MOST:,} are read")
    # Read, made a picture, and cut.
    check_memory(3 * math.prod(shape[1:]), (shape[2], shape[1]), path)
    if X.by_columns and math.prod(shape) > LIMIT:
        raise TooLargeError(
            f"its {in_words(math.prod(shape))} of pictures lie column by column, so "
            "that they must be read at once. Write numpy.ascontiguousarray of them"
        )
