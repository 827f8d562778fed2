"""Does a short fuzz find nothing, and would the fuzzer see each kind of failure?"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("the fuzzer holds children to limits of Linux", allow_module_level=True)

from scripts import fuzz
from scripts.fuzzing import child
from scripts.fuzzing.sorts import KINDS, SORTS, Sort

COUNT = 25  # of each kind


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder for the seeds, which are made once."""
    gc.freeze()  # what is here already is not gone through in the children
    with fuzz.working_folder() as folder, pytest.MonkeyPatch.context() as patch:
        # PyTorch takes long to import; files that it wrote are among the fixtures.
        patch.setitem(sys.modules, "torch", None)
        fuzz.Fuzzer(folder, "pth", 0)
        yield folder
    gc.unfreeze()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_and_hostile_files_are_read_or_refused(
    kind: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = fuzz.fuzz(kind, COUNT, 0, root, None)
    assert not failures, capsys.readouterr().out


@pytest.mark.parametrize("sort", SORTS, ids=lambda sort: sort.name)
def test_good_files_are_read(sort: Sort, root: Path, tmp_path: Path) -> None:
    """Otherwise every damaged one would be refused for what it is not."""
    fuzzer = fuzz.Fuzzer(root, sort.kind, 0)
    if sort not in fuzzer.sorts:
        pytest.skip(f"this machine cannot make {sort.place}")
    file = fuzzer.copy(sort, tmp_path)
    file.write_bytes(fuzzer.good[sort.place])
    outcome = child.run(lambda: sort.door(file), tmp_path, "utf-8")
    if sort.kind == "pth" or sort.place == "weights/w.npz":
        # Read, and found to be another network's.
        assert outcome.kind == child.REFUSED
        assert "not those of SqueezeNet 1.1" in outcome.said
    else:
        assert outcome.kind == child.READ, outcome.said


def test_a_case_is_the_same_whenever_it_is_made(root: Path, tmp_path: Path) -> None:
    fuzzer = fuzz.Fuzzer(root, "text", 3)
    made = []
    for number in range(40):
        for place in ("a", "b"):
            folder = tmp_path / place / str(number)
            folder.mkdir(parents=True)
            case = fuzzer.make(number, folder)
            small = case.file.is_file() and case.file.stat().st_size < 10**6
            content = case.file.read_bytes() if small else None
            made.append((case.sort, case.what, case.encoding, content))
        assert made[-1] == made[-2]
        assert case.hostile is None or case.what == case.hostile.name
    assert len({what for _, what, _, _ in made}) > 20


# -- what the fuzzer must see ------------------------------------------------------


def hang() -> None:
    time.sleep(60)


def work_on() -> None:
    while True:
        pass


def fill() -> None:
    bytearray(2 * child.MEMORY)


def fill_and_refuse() -> None:
    try:
        fill()
    except MemoryError as error:
        raise SystemExit(1) from error


def swell() -> None:
    """Below the limit each, but never given back."""
    for _ in range(2):
        np.ones(child.MEMORY // 64, "f8").sum()
    os.write(1, b"done")


def crash() -> None:
    faulthandler.disable()  # which would tell of it among the tests' own lines
    os.abort()


def warn() -> None:
    warnings.warn("an oddity of a library's", UserWarning, stacklevel=1)


ENDS: dict[str, tuple[Callable[[], object], str, str]] = {
    "nothing": (lambda: print("fine"), child.READ, "fine"),
    "a refusal": (lambda: sys.exit(1), child.REFUSED, ""),
    "an error": (lambda: 1 / 0, child.TRACEBACK, "ZeroDivisionError"),
    "Ctrl-C": (lambda: (_ for _ in ()).throw(KeyboardInterrupt), child.TRACEBACK, ""),
    "a crash": (crash, child.TRACEBACK, "ended by SIGABRT"),
    "a hang": (hang, child.HANG, ""),
    "endless work": (work_on, child.HANG, ""),
    "memory": (fill, child.OVER, "MemoryError"),
    "memory, then a refusal": (fill_and_refuse, child.OVER, ""),
    "little memory": (swell, child.READ, "done"),
    "an escape": (lambda: print("\x1b[31mred"), child.RAW, "x1b"),
    "one of a single byte": (lambda: print("\x9b2J"), child.RAW, "x9b"),
    "a turn of the text": (lambda: print("\u202egnp"), child.RAW, "u202e"),
    "half a letter": (lambda: print("\ud800"), child.TRACEBACK, "UnicodeEncodeError"),
    "a warning": (warn, child.WARNED, "an oddity"),
}


@pytest.mark.parametrize("name", ENDS)
def test_how_a_child_ends_is_seen(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, kind, said = ENDS[name]
    monkeypatch.setattr(child, "SECONDS", 0.5 if kind == child.HANG else 10.0)
    outcome = child.run(work, tmp_path, "utf-8")
    assert outcome.kind == kind, outcome.said
    assert said in outcome.said


def test_a_hostile_file_that_is_believed_is_a_failure(
    root: Path, tmp_path: Path
) -> None:
    fuzzer = fuzz.Fuzzer(root, "h5", 0)
    sort, hostile = next(h for h in fuzzer.hostile if h[1].refused)
    case = fuzz.Case(sort, 0, "", tmp_path / "x", "utf-8", hostile)
    assert fuzzer.judged(case, child.Outcome(child.READ, "")).kind == child.ACCEPTED
    refused = child.Outcome(child.REFUSED, "Error: it is damaged.")
    assert fuzzer.judged(case, refused).kind == child.UNNAMED
    named = child.Outcome(child.REFUSED, f"Error: {tmp_path}/x is damaged.")
    assert fuzzer.judged(case, named) == named


def test_the_command_fails_where_something_fails(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says which case it was, and keeps its file."""
    monkeypatch.setattr(
        fuzz, "SORTS", (Sort("text", "cola/in_domain_dev.tsv", lambda file: 1 / 0),)
    )
    keep = tmp_path / "kept"
    asked = ["--kind", "text", "--work", str(root)]
    assert fuzz.main([*asked, "--count", "4", "--keep", str(keep)]) == 1
    out = capsys.readouterr().out
    assert "TRACEBACK: cola/in_domain_dev.tsv: " in out
    assert "--kind text --seed 0 --only 3" in out
    assert "4 failures (seed 0)" in out
    assert len(list(keep.iterdir())) == 4
    assert fuzz.main([*asked, "--only", "3"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
