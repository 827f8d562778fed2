"""Is what a thing takes checked before it is taken?"""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.io import limits
from minigrad.io.errors import RefusedError, TooLargeError
from tests.minigrad.helpers import assert_parts

FREE, EXPANSION = limits.FREE, limits.EXPANSION


@pytest.fixture
def memory(monkeypatch):
    """A machine on which so many bytes are free."""

    def has(count):
        monkeypatch.setattr(limits, "free_memory", lambda: count)

    has(None)
    return has


@given(stored=st.integers(0, 10**12), beyond=st.integers(1, 10**5000))
def test_more_than_both_limits_is_refused_and_no_less(stored, beyond):
    most = max(FREE, EXPANSION * stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "free_memory", lambda: None)
        limits.check_size(most, "the rows", stored)
        for needed in (most + 1, most + beyond):
            with pytest.raises(TooLargeError, match="the rows would take"):
                limits.check_size(needed, "the rows", stored)


def test_the_full_features_of_coco_are_within_the_limits(memory):
    memory(2 * 10**9)
    size = 82_783 * 4096 * 4
    limits.check_size(size, "the features", size)


def test_what_is_too_large_for_the_file_says_what_and_the_way_out(memory):
    with pytest.raises(TooLargeError) as raised:
        limits.check_size(3 * 10**9, "the weights", stored=28_000)
    assert_parts(
        raised.value, "the weights", "3.0 GB", "28.0 kB", "67.1 MB or 20 times"
    )
    assert_parts(raised.value, "store it uncompressed")


def test_what_is_too_large_for_the_machine_says_so(memory):
    memory(10**9)
    limits.check_size(10**9, "the model")
    with pytest.raises(TooLargeError) as raised:
        limits.check_size(3 * 10**9, "the model")
    assert_parts(raised.value, "the model would take 3.0 GB", "1.0 GB are free")


@given(st.integers(0, 10**30))
def test_numbers_of_bytes_are_short_words(count):
    assert len(limits.in_words(count)) < 25


def test_numbers_of_bytes_are_right():
    words = [limits.in_words(n) for n in (0, 999, 1000, 1_360_000_000, 10**18)]
    assert words == [
        "0 bytes", "999 bytes", "1.0 kB", "1.4 GB", "more than 1,000,000 TB"
    ]  # fmt: skip


# -- running out of memory ---------------------------------------------------------

OUT_OF_MEMORY = {
    "MemoryError": lambda: bytes(2**62),
    "too big": lambda: np.empty((2**40, 2**40)),
    "too large to convert": lambda: np.empty(10**30),
    "Unable to allocate": lambda: np.empty(2**58, "u1"),
    "Maximum allowed": lambda: np.empty(2**62),
}


@pytest.mark.parametrize("name", OUT_OF_MEMORY)
def test_whatever_says_that_memory_runs_out_is_known(name):
    with pytest.raises((MemoryError, ValueError, OverflowError)) as raised:
        OUT_OF_MEMORY[name]()
    assert limits.is_about_memory(raised.value)


@pytest.mark.parametrize("act", [lambda: (2**80).to_bytes(8), lambda: int("a")])
def test_other_errors_are_not_about_memory(act):
    with pytest.raises((ValueError, OverflowError)) as raised:
        act()
    assert not limits.is_about_memory(raised.value)


def test_free_memory_is_a_number_or_unknown():
    free = limits.free_memory()
    assert free is None or free > 0


def test_the_scarcest_memory_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 2000000\nfile 1000000\n")
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    assert limits.free_memory() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.free_memory() != 3_000_000


def test_a_limit_of_the_address_space_counts(monkeypatch):
    resource = pytest.importorskip("resource")
    used = limits._free_of_address_space
    assert used() is None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**50, 2**50))
    assert 0 < used() < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert used() == 0


# -- what is stored ----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="holes cannot be told")
def test_holes_of_a_file_are_not_stored(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(3 * FREE)
        file.seek(FREE)
        file.write(b"a" * 8192)
        file.truncate(3 * FREE)
    with open(path, "rb") as file:
        file.seek(5)
        assert 8192 <= limits.stored_bytes(file) < 2**20
        assert file.tell() == 5
    with open(path, "r+b") as file:
        file.truncate(FREE)
    with open(path, "rb") as file:
        assert limits.stored_bytes(file) == FREE  # too small to look for holes


def archive_of(content, kind=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("member", content)
    return zipfile.ZipFile(buffer)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_up_to_what_its_kind_may_have(kind):
    archive = archive_of(b"abc" * 1000, kind)
    (member,) = archive.infolist()
    assert limits.unpack(archive, member, 3000) == b"abc" * 1000
    with pytest.raises(TooLargeError, match=r"'member' .* more than 3\.0 kB"):
        limits.unpack(archive, member, 2999)


def test_a_member_that_says_it_is_huge_is_not_unpacked(monkeypatch):
    archive = archive_of(b"abc")
    (member,) = archive.infolist()
    member.file_size = 10**10
    monkeypatch.setattr(archive, "open", pytest.fail)
    with pytest.raises(TooLargeError, match=r"'member' would take 10\.0 GB"):
        limits.unpack(archive, member, 2**40)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_in_pieces_is_refused(kind):
    archive = archive_of(b"abc", kind)
    (member,) = archive.infolist()
    with pytest.raises(RefusedError, match="pack it again"):
        limits.unpack(archive, member, 100)
