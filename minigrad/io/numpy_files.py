"""NumPy's .npy and .npz files, read without trusting them: numbers alone.

NumPy's readers set aside what a header asks for, and its archives are zips, which
unpack to what they like. Here a header must agree with the bytes that are there.

Source: NumPy's description of the format, in numpy/lib/format.py.
"""

from __future__ import annotations

import io
import math
import os
import zipfile

import numpy as np

from minigrad.io.damaged import open_regular, reading
from minigrad.io.errors import RefusedError
from minigrad.io.limits import FREE, check_size, stored_bytes, unpack
from minigrad.io.numbers import NUMBERS

ZIP_START = b"PK"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def load_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array of numbers in an .npy file; nothing in it is executed.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnreadableError: it is damaged, too large, or holds something else.
    """
    with open_regular(path) as file, reading(path, "an .npy of numbers"):
        size = os.fstat(file.fileno()).st_size
        check_size(size, "its array", stored_bytes(file))
        return _array(file.read())


def load_npz(path: str | os.PathLike[str], most: int = FREE) -> dict[str, np.ndarray]:
    """Read the arrays of numbers in an .npz, by name; nothing in it is executed.

    Args:
        path: the file.
        most: how many bytes its arrays may have together.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnreadableError: it is damaged, too large, or holds something else.
    """
    with open_regular(path) as file, reading(path, "an .npz of arrays"):
        if file.read(len(ZIP_START)) != ZIP_START:
            raise RefusedError(
                "it does not begin as a zip, which an .npz is. Save named arrays, by "
                "numpy.savez(path, name=array)"
            )
        arrays: dict[str, np.ndarray] = {}
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"the name {name!r} stands twice in it")
                content = unpack(archive, member, most)
                most -= len(content)
                arrays[name] = _array(content)
        return arrays


def _array(content: bytes) -> np.ndarray:
    """The array of an .npy file's bytes, whose header must agree with them."""
    if content.startswith(ZIP_START):
        raise ValueError("it is an archive of arrays, not the one array of an .npy")
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its version {version} is not one of numbers")
    shape, by_columns, dtype = HEADERS[version](stream)
    if dtype.kind not in NUMBERS:
        raise RefusedError(
            f"it holds {dtype}, and only numbers are read, since objects could carry "
            "code. Save numbers alone, by numpy.save or numpy.savez"
        )
    there, needed = len(content) - stream.tell(), math.prod(shape) * dtype.itemsize
    if there != needed or min(shape, default=0) < 0:
        raise ValueError(f"its header asks for other than the {there:,} bytes there")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if by_columns else "C").copy(order="K")
