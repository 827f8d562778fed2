"""Are NumPy's files read as NumPy does, and never believed?"""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.io import limits
from minigrad.io.errors import UnreadableError
from minigrad.io.numpy_files import load_npy, load_npz
from tests.minigrad.helpers import assert_parts

ARRAYS = hnp.arrays(
    hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc"),
    hnp.array_shapes(min_dims=0, max_side=4, min_side=0),
)


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def asking_for(shape, dtype="<f4", content=b""):
    """An .npy file whose header asks for a shape, whatever is there."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + content


def assert_same(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.flags.writeable
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=50)
@given(array=ARRAYS, by_columns=st.booleans())
def test_an_array_comes_back(tmp_path_factory, array, by_columns):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asfortranarray(array) if by_columns else array)
    assert_same(load_npy(path), array)


@settings(max_examples=30)
@given(arrays=st.dictionaries(st.sampled_from("abc"), ARRAYS), packed=st.booleans())
def test_an_archive_comes_back(tmp_path_factory, arrays, packed):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    read = load_npz(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert_same(read[name], array)


def packed(*members, kind=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


ARRAY = saved(np.arange(6.0))

BAD_NPY = {
    "empty": (b"", "magic string"),
    "text": (b"hello, world", "magic string"),
    "cut short": (ARRAY[:-1], "asks for other than the 47 bytes"),
    "too long": (ARRAY + b"a", "asks for other than the 49 bytes"),
    "objects": (asking_for((1,), "|O", pickle.dumps([1])), "could carry code"),
    "texts": (saved(np.array(["a"])), "only numbers"),
    "records": (saved(np.zeros(2, "i4,f4")), "only numbers"),
    "10^12 rows": (asking_for((10**12, 4096)), "asks for other than the 0 bytes"),
    "thousands of digits": (asking_for((10**4200,)), "asks for other"),
    "less than nothing": (asking_for((-1, -6), "<f8", bytes(48)), "asks for other"),
    "a deep header": (ARRAY[:10] + b"(" * 100 + ARRAY[110:], "header cannot be read"),
    "an archive": (packed(("a.npy", ARRAY)), "an archive of arrays"),
    "version 3": (ARRAY.replace(b"\x01\x00", b"\x03\x00", 1), "version"),
}


@pytest.mark.parametrize("name", BAD_NPY)
def test_an_array_that_is_none_says_so(name, tmp_path):
    content, words = BAD_NPY[name]
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as raised:
        load_npy(path)
    assert_parts(raised.value, "a.npy' cannot be read as an .npy", words)


def repeated():
    with pytest.warns(UserWarning, match="Duplicate name"):
        return packed(("a.npy", ARRAY), ("a.npy", ARRAY))


BAD_NPZ = {
    "one array": (lambda: ARRAY, "numpy.savez"),
    "a damaged end": (lambda: packed(("a.npy", ARRAY))[:-30], "not a zip file"),
    "a name twice": (repeated, "stands twice"),
    "a text": (lambda: packed(("a.txt", b"hello")), "magic string"),
    "a bomb": (lambda: packed(("a.npy", bytes(2**27))), "20 times what is stored"),
    "many, together too large": (
        lambda: packed(*((f"{name}.npy", saved(np.zeros(150_000))) for name in "ab")),
        "more than 799.9 kB",
    ),
    "LZMA": (lambda: packed(("a.npy", ARRAY), kind=zipfile.ZIP_LZMA), "deflate"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_an_archive_that_is_none_says_so(name, tmp_path):
    make, words = BAD_NPZ[name]
    path = tmp_path / "a.npz"
    path.write_bytes(make())
    with pytest.raises(UnreadableError) as raised:
        load_npz(path, most=2_000_000)
    assert_parts(raised.value, "a.npz' cannot be read as an .npz", words)


def test_a_hole_of_gigabytes_is_no_array(tmp_path):
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        file.write(asking_for((3 * limits.FREE // 4,)))
        file.truncate(file.tell() + 3 * limits.FREE)
    with pytest.raises(UnreadableError, match="its array would take 201"):
        load_npy(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    for load in (load_npy, load_npz):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none")
