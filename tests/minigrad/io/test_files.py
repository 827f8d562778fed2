"""Does a file appear whole or not at all, as what it was before?"""

from __future__ import annotations

import os
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.io import files
from minigrad.io.files import remove_unfinished, replacing


def write(path, text="new"):
    with replacing(path) as name, open(name, "w") as file:
        file.write(text)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    """Set the mask of this process; afterwards it is as before."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


# -- what stays --------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o777])
def test_a_replaced_file_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == "new"
    assert mode_of(path) == mode


def test_what_is_private_is_private_while_it_is_written(tmp_path, umask):
    umask(0)
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o400)
    with replacing(path) as name:
        assert stat.S_IMODE(os.stat(name).st_mode) & 0o077 == 0
        with open(name, "w") as file:
            file.write("new")
    assert mode_of(path) == 0o400


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_heeds_the_umask(mask, tmp_path, umask):
    umask(mask)
    write(tmp_path / "a")
    assert mode_of(tmp_path / "a") == 0o666 & ~mask


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_replaced(exists, steps, tmp_path):
    target = tmp_path / "far" / "away"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
        target.chmod(0o640)
    last = target
    for step in range(steps):
        link = tmp_path / f"link{step}"
        link.symlink_to(os.path.relpath(last, tmp_path))
        last = link
    write(last)
    assert last.is_symlink()
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert not exists or mode_of(target) == 0o640
    assert names_in(target.parent) == ["away"]


def test_the_temporary_file_lies_beside_the_links_target(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/away")
    with replacing(tmp_path / "link") as name:
        assert os.path.dirname(name) == str(tmp_path / "far")


@given(st.text(st.sampled_from("aé大😀\udcff"), min_size=1, max_size=260))
def test_names_of_every_length_that_fits_can_be_written(tmp_path_factory, name):
    while len(os.fsencode(name)) > files.LONGEST_NAME:
        name = name[:-1]
    folder = tmp_path_factory.mktemp("names")
    write(folder / name)
    assert names_in(folder) == [name]


def test_a_name_that_is_too_long_is_refused_before_any_work(tmp_path):
    with pytest.raises(OSError, match="too long"), replacing(tmp_path / ("a" * 256)):
        pytest.fail("it was begun")
    assert names_in(tmp_path) == []


# -- what is refused ---------------------------------------------------------------


def loop(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def a_pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


REFUSED = {
    "a folder": lambda folder: folder,
    "a device": lambda folder: os.devnull,
    "a pipe": a_pipe,
    "a loop of links": loop,
    "no folder": lambda folder: folder / "none" / "a",
    "no name at all": lambda folder: "",
    "below a file": lambda folder: __file__ + "/a",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_file_is_refused_before_any_work(name, tmp_path):
    path = REFUSED[name](tmp_path)
    before = names_in(tmp_path)
    with pytest.raises(OSError, match=r"\[Errno") as raised, replacing(path):
        pytest.fail("it was begun")
    assert raised.value.filename == (os.fspath(path) or ".")
    assert names_in(tmp_path) == before


# -- what goes wrong ---------------------------------------------------------------

RAISED = [
    OSError,
    ValueError,
    MemoryError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
]


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("place", ["inside", "chmod", "fsync", "replace"])
def test_nothing_is_left_behind(place, error, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o777)

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        if place != "inside":
            patch.setattr(os, place, fail)
        inside = fail if place == "inside" else int
        with pytest.raises(error), replacing(path):
            inside()
    assert names_in(tmp_path) == ["a"]
    assert path.read_text() == "old"


def interrupted_at(count, path):
    """Write a file; a KeyboardInterrupt comes before the count-th opcode of its way.

    Gives whether it came at all.
    """
    left = count

    def trace(frame, event, _):
        nonlocal left
        frame.f_trace_opcodes = True
        ours = frame.f_code.co_filename == files.__file__
        if event == "opcode" and ours:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        write(path)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return left <= 0


# What Python had not yet closed, it closes when it is collected, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_interrupt_at_any_step_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    count, seen = 1, []
    while interrupted_at(count, path):
        seen.append(path.read_text())
        assert seen[-1] in ("old", "new")
        assert names_in(tmp_path) == ["a"], f"left behind at opcode {count}"
        path.write_text("old")
        count += 1
    assert {"old", "new"} == set(seen)


def test_what_killed_processes_left_is_cleared_away(tmp_path):
    path = tmp_path / ("é" * 120)
    with replacing(path) as name:
        os.link(name, tmp_path / ".left.part")
    remove_unfinished(tmp_path)
    assert names_in(tmp_path) == [path.name]
