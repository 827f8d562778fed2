"""Is a folder whole or not there, whoever is killed, and whoever comes at once?"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from apps.captioning import shapes
from apps.files import TakenError, held, whole_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    with held(path):
        for _ in range(2):
            with pytest.raises(TakenError, match=r"is writing .*/thing\. Wait"):
                held(path).__enter__()
    with pytest.raises(ZeroDivisionError), held(path):
        raise ZeroDivisionError
    with held(path):
        pass
    assert names(tmp_path) == []


def test_a_lock_that_cannot_be_made_is_told_by_the_name_it_is_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as caught:
        held(tmp_path / "file" / "thing").__enter__()
    assert caught.value.filename == str(tmp_path / "file" / "thing")


def test_a_lock_that_is_removed_while_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder may do so between our opening and our locking it."""
    path, lock = tmp_path / "thing", fcntl.flock
    name = tmp_path / ".thing.lock"
    removals = iter([lambda: None, lambda: name.touch()])

    def late(file: int, how: int) -> None:
        again = next(removals, None)
        if again is not None:
            name.unlink()
            again()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(path):
        assert next(removals, None) is None
        with pytest.raises(TakenError):
            held(path).__enter__()


def test_waiting_for_a_lock_that_its_holder_removes(tmp_path: Path) -> None:
    """Removed between somebody's opening it and locking it, it must keep nobody out."""
    inside = []

    def turn(number: int) -> None:
        for _ in range(5):
            with held(tmp_path / "thing", wait=True):
                inside.append(number)
                assert inside == [number]
                inside.clear()

    with ThreadPoolExecutor() as pool:
        list(pool.map(turn, range(4)))
    assert names(tmp_path) == []


def test_one_fills_a_folder_at_a_time(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "set") as first:
        (first / "a").write_text("first")
        with pytest.raises(TakenError):
            whole_folder(tmp_path / "set").__enter__()
    assert (tmp_path / "set" / "a").read_text() == "first"
    assert names(tmp_path) == ["set"]


def test_who_waits_comes_next(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        with whole_folder(tmp_path / "set") as first:

            def second() -> list[str]:
                with whole_folder(tmp_path / "set", wait=True):
                    return names(tmp_path / "set")

            waiting = pool.submit(second)
            (first / "a").write_text("first")
        assert waiting.result() == ["a"]
    assert names(tmp_path) == ["set"]


def test_two_who_need_a_set_draw_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(folder: Path, seed: int) -> None:
        made.append(folder)
        (folder / "a").write_text("drawn")

    monkeypatch.setattr(shapes, "make", make)
    monkeypatch.setattr(shapes, "load_scenes", lambda *_: [])
    both = Barrier(2)

    @contextmanager
    def together(folder: Path, **options: bool) -> Iterator[Path]:
        both.wait()  # both have seen that it is not there
        with whole_folder(folder, **options) as unfinished:
            yield unfinished

    monkeypatch.setattr(shapes, "whole_folder", together)
    with ThreadPoolExecutor() as pool:
        list(pool.map(shapes.ensure, [tmp_path / "set"] * 2))
    assert len(made) == 1


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    """It leaves its lock, too, which nobody holds any more."""
    with whole_folder(tmp_path / "set") as unfinished:
        (unfinished / "half").write_text("x")
        shutil.copytree(unfinished, tmp_path / "saved")
        left = unfinished
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "saved").rename(left)
    (tmp_path / ".set.lock").touch()
    with whole_folder(tmp_path / "set") as unfinished:
        assert names(unfinished) == []
        (unfinished / "all").write_text("x")
    assert names(tmp_path) == ["set"]
    assert names(tmp_path / "set") == ["all"]


def test_what_is_another_s_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("mine")
    (tmp_path / ".set.unfinished").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        whole_folder(tmp_path / "set").__enter__()
    assert names(tmp_path / "mine") == ["a"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_folder_heeds_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with whole_folder(tmp_path / "set") as unfinished:
            (unfinished / "below").mkdir()
    finally:
        os.umask(before)
    for path in (tmp_path / "set", tmp_path / "set" / "below"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~umask
