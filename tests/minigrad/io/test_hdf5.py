"""Does HDF5 read only what was written, and only in the file itself?"""

from __future__ import annotations

import itertools
import os
import struct
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from minigrad.io import hdf5, limits
from minigrad.io.damaged import reading
from minigrad.io.errors import UnreadableError
from tests.minigrad.helpers import assert_parts

SHAPE = (100, 10)


def values(shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def read(path, name="rows"):
    with reading(path, "a set"), hdf5.open_hdf5(path) as file:
        return hdf5.read_all(hdf5.dataset(file, name), name)


def written(path, act):
    with h5py.File(path, "w") as file:
        act(file)
    return path


# -- what is read ------------------------------------------------------------------

GOOD = {
    "contiguous": {},
    "chunked": {"chunks": (7, 3)},
    "may grow": {"maxshape": (None, 10)},
    "gzip": {"chunks": (7, 3), "compression": "gzip"},
    "shuffled": {"compression": "gzip", "shuffle": True},
    "with checksums": {"compression": "gzip", "fletcher32": True},
    "lzf": {"compression": "lzf", "shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("name", GOOD)
def test_what_was_written_is_read(name, tmp_path):
    path = written(
        tmp_path / "a.h5",
        lambda file: file.create_dataset("rows", data=values(), **GOOD[name]),
    )
    np.testing.assert_array_equal(read(path), values())


@pytest.mark.parametrize("name", GOOD)
def test_what_the_latest_format_holds_is_read(name, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest", userblock_size=512) as file:
        file.create_dataset("rows", data=values(), **GOOD[name])
    np.testing.assert_array_equal(read(path), values())


def planned(*acts):
    """Write rows with filters in an order of one's own."""

    def act(file):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(SHAPE)
        for name, *settings in acts:
            getattr(plan, name)(*settings)
        space = h5py.h5s.create_simple(SHAPE)
        h5py.h5d.create(file.id, b"rows", h5py.h5t.IEEE_F32LE, space, plan)
        file["rows"][...] = values()

    return act


PACK, SHUFFLE = ("set_deflate", 1), ("set_shuffle",)
ORDERS = list(itertools.permutations([PACK, SHUFFLE, ("set_fletcher32",)]))


@pytest.mark.parametrize("acts", ORDERS)
def test_filters_are_read_where_what_packs_comes_after_shuffling(acts, tmp_path):
    path = written(tmp_path / "a.h5", planned(*acts))
    if acts.index(PACK) > acts.index(SHUFFLE):
        np.testing.assert_array_equal(read(path), values())
    else:
        with pytest.raises(UnreadableError, match="shuffle before what packs"):
            read(path)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
@pytest.mark.parametrize("fletcher32", [True, False])
def test_chunks_that_a_filter_left_out_are_read(fletcher32, compression, tmp_path):
    def act(file):
        rows = file.create_dataset(
            "rows", SHAPE, "f4", chunks=SHAPE, compression=compression
        )
        rows.id.write_direct_chunk((0, 0), values().tobytes(), filter_mask=1)

    np.testing.assert_array_equal(read(written(tmp_path / "a.h5", act)), values())


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_large_chunks_of_noise_are_read(compression, tmp_path):
    shape = (40, 10_000)  # a chunk of 1.6 MB, of which DEFLATE could make gigabytes
    path = written(
        tmp_path / "a.h5",
        lambda file: file.create_dataset(
            "rows", data=values(shape), chunks=shape, compression=compression
        ),
    )
    np.testing.assert_array_equal(read(path), values(shape))


@pytest.mark.parametrize("shape", [(), (0, 5), (5, 0)])
def test_shapes_without_rows_are_read(shape, tmp_path):
    path = written(tmp_path / "a.h5", lambda f: f.update(rows=values(shape)))
    assert read(path).shape == shape


@pytest.mark.parametrize("dtype", ["bool", "int8", ">i4", "u8", "f2", "c8", "c16"])
def test_every_kind_of_number_is_read(dtype, tmp_path):
    array = np.ones(3, dtype)
    path = written(tmp_path / "a.h5", lambda f: f.update(rows=array))
    assert read(path).dtype == array.dtype


def test_rows_are_read_of_what_is_too_large_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 0)
    monkeypatch.setattr(limits, "FREE", 1000)
    path = written(tmp_path / "a.h5", lambda f: f.update(rows=values()))
    with hdf5.open_hdf5(path) as file:
        found = hdf5.dataset(file, "rows")
        np.testing.assert_array_equal(found[3:5], values()[3:5])
        with pytest.raises(ValueError, match="'rows' would take 4"):
            hdf5.read_all(found, "rows")


# -- what stands elsewhere ---------------------------------------------------------


def external(file):
    secret = os.path.join(os.path.dirname(file.filename), "secret")
    with open(secret, "wb") as other:
        other.write(bytes(4000))
    file.create_dataset("rows", SHAPE, "f4", external=[(secret, 0, 4000)])


def virtual(source, unlimited=False):
    def act(file):
        most = (None, 10) if unlimited else SHAPE
        layout = h5py.VirtualLayout(SHAPE, "f4", maxshape=most)
        layout[:] = h5py.VirtualSource(source, "rows", SHAPE, maxshape=most)
        file.create_virtual_dataset("rows", layout)

    return act


def soft(file):
    file["real"] = values()
    file["rows"] = h5py.SoftLink("/real")


def other_file(file):
    folder = os.path.dirname(file.filename)
    written(os.path.join(folder, "b.h5"), lambda f: f.update(rows=[1.0]))
    file["rows"] = h5py.ExternalLink("b.h5", "/rows")


def partly_written(file):
    rows = file.create_dataset("rows", SHAPE, "f4", chunks=(10, 10))
    rows[:50] = 1


def never_written(**settings):
    return lambda file: file.create_dataset("rows", (10**12, 40), "f4", **settings)


def a_large_chunk(file):
    shape = (1, limits.FREE // 4 + 1)
    rows = file.create_dataset("rows", shape, "f4", chunks=shape, compression="gzip")
    rows[...] = 0


def of_chunk(content, mask=0, **settings):
    """One chunk, stored as it is given."""

    def act(file):
        rows = file.create_dataset("rows", SHAPE, "f4", chunks=SHAPE, **settings)
        rows.id.write_direct_chunk((0, 0), content, filter_mask=mask)

    return act


ZEROS = bytes(4000)
GZIP = {"compression": "gzip"}
DOES_NOT = "does not unpack to its 4.0 kB"


def large_lzf(file):
    shape = (1, 2**21)
    rows = file.create_dataset("rows", shape, "f4", chunks=shape, compression="lzf")
    rows.id.write_direct_chunk((0, 0), bytes(2**22))


REFUSED = {
    "external storage": (external, "external storage"),
    "missing virtual source": (virtual("missing.h5"), "is virtual"),
    "virtual over itself": (virtual("."), "is virtual"),
    "virtual, unlimited": (virtual(".", True), "is virtual"),
    "soft link": (soft, "a link to something"),
    "external link": (other_file, "a link to something"),
    "dangling link": (
        lambda f: f.__setitem__("rows", h5py.SoftLink("/none")),
        "a link to something",
    ),
    "another name": (lambda f: f.create_dataset("other", data=1), "holds ['other']"),
    "a group": (lambda f: f.create_group("rows"), "no dataset"),
    "itself": (lambda f: f.__setitem__("rows", f["/"]), "no dataset"),
    "texts": (lambda f: f.create_dataset("rows", data=["a"]), "not numbers"),
    "nothing": (lambda f: f.create_dataset("rows", data=h5py.Empty("f4")), "not num"),
    "half written": (partly_written, "5 of its 10 chunks are missing"),
    "never written": (never_written(), "was never written: 160.0 TB"),
    "no chunk written": (never_written(chunks=(100, 40)), "never written"),
    "an inflating chunk": (of_chunk(zlib.compress(bytes(2**27)), **GZIP), DOES_NOT),
    "a byte too many": (of_chunk(zlib.compress(ZEROS + b"a"), **GZIP), DOES_NOT),
    "a chunk that is too short": (of_chunk(zlib.compress(b"abcd"), **GZIP), DOES_NOT),
    "a chunk without its end": (of_chunk(zlib.compress(ZEROS)[:-1], **GZIP), DOES_NOT),
    "a damaged chunk": (
        of_chunk(zlib.compress(ZEROS)[:-1] + b"a", **GZIP),
        "incorrect data check",
    ),
    "a chunk left as it is, too short": (of_chunk(b"abcd", mask=1, **GZIP), DOES_NOT),
    "an empty chunk with a checksum": (
        of_chunk(b"abcd", compression="lzf", fletcher32=True),
        DOES_NOT,
    ),
    "a short chunk with a checksum": (
        of_chunk(ZEROS, fletcher32=True),
        DOES_NOT,
    ),
    "a large chunk": (a_large_chunk, "at most 67.1 MB"),
    "compressed twice": (
        planned(("set_deflate", 9), ("set_deflate", 9)),
        "filters [1, 1]",
    ),
    "scaled offsets": (
        lambda f: f.create_dataset("rows", data=[1], chunks=(1,), scaleoffset=0),
        "filters [6]",
    ),
    "large lzf": (large_lzf, "does not unpack to its 8.4 MB"),
}


def test_lzf_of_another_size_is_refused(tmp_path):
    path = written(
        tmp_path / "a.h5",
        lambda f: f.create_dataset(
            "rows", data=values(), chunks=SHAPE, compression="lzf"
        ),
    )
    right, wrong = (struct.pack("<2I", 261, size) for size in (4000, 10))
    assert path.read_bytes().count(right) == 1
    path.write_bytes(path.read_bytes().replace(right, wrong))
    with pytest.raises(UnreadableError, match="another size for lzf"):
        read(path)


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_not_written_here_is_refused_by_name(name, tmp_path, monkeypatch):
    act, words = REFUSED[name]
    path = written(tmp_path / "a.h5", act)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", pytest.fail)
    with pytest.raises(UnreadableError) as raised:
        read(path)
    assert_parts(raised.value, "a.h5' cannot be read as a set: ", words)


# -- files that cannot be opened ---------------------------------------------------


def test_a_file_that_is_no_hdf5_says_so(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"hello")
    with pytest.raises(UnreadableError, match=r"a\.h5' cannot be read as an HDF5 file"):
        hdf5.open_hdf5(path)


def test_a_pipe_is_refused_before_it_is_opened(pipe):
    with pytest.raises(UnreadableError, match="is a pipe"):
        hdf5.open_hdf5(pipe)


def test_a_missing_file_and_a_folder_are_errors_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        hdf5.open_hdf5(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError):
        hdf5.open_hdf5(tmp_path)


WRITER = """
import sys, h5py
with h5py.File(sys.argv[1], "w") as file:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_locked_file_is_called_locked(tmp_path):
    path = tmp_path / "a.h5"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with writer:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(UnreadableError) as raised:
            hdf5.open_hdf5(path)
        writer.stdin.close()
    assert_parts(raised.value, "a.h5' is locked", "Wait until it is done")


def test_settings_reach_h5py(tmp_path):
    path = written(tmp_path / "a.h5", lambda f: None)
    with hdf5.open_hdf5(path, rdcc_nbytes=2**22) as file:
        assert file.id.get_access_plist().get_cache()[2] == 2**22
