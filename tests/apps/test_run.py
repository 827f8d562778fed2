"""Does the shared loop stop, save and go on without changing how training ends?"""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import minigrad as mg
from apps import run as runs
from apps import run_checkpoint, run_folder
from apps.job import Job, minibatches
from apps.run_folder import RunError, RunFolder, new_folder
from apps.signals import Interrupt, StopError
from tests.apps.jobs import CONFIG, STEPS, make_job, outcome, quiet


@pytest.mark.parametrize("stop_at", [1, 4, 5, 6, 10, 14])
def test_stopped_and_resumed_is_not_stopped(
    tmp_path: Path, expected: Any, stop_at: int
) -> None:
    assert len(expected[1]) == 3
    stopped, run = make_job(stop_at), RunFolder.create(tmp_path / "half", CONFIG)
    with pytest.raises(StopError):
        runs.train(stopped, run, quiet())
    assert stopped.step == stop_at

    again = make_job()
    run_checkpoint.restore(again, run)
    assert again.step == stop_at
    assert resumed(run.path) == expected


class Killed(BaseException):
    """Ends a process at once, as far as one can tell from what it left."""


def kill() -> None:
    raise Killed


def every_second_step() -> Callable[[], float]:
    """A clock on which a minute is over at every second look."""
    return itertools.count(0.0, runs.SAVE_EVERY / 2).__next__


def every_step() -> Callable[[], float]:
    """A clock on which each step takes a minute."""
    return itertools.count(0.0, runs.SAVE_EVERY).__next__


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """How training ends that nothing stops."""
    job = make_job()
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "whole", CONFIG)
    runs.train(job, run, quiet())
    return outcome(job, run)


def resumed(path: Path, **options: Any) -> Any:
    """How training ends that goes on in a folder."""
    job, run = make_job(), RunFolder.open(path)
    runs.train(job, run, quiet(), resume=True, **options)
    return outcome(job, run)


def test_saves_amid_epochs_change_nothing(
    tmp_path: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, save = [], run_checkpoint.save

    def watched(job: Job, run: RunFolder) -> None:
        saved.append(job.step)
        save(job, run)

    monkeypatch.setattr(run_checkpoint, "save", watched)
    job, run = make_job(), RunFolder.create(tmp_path / "run", CONFIG)
    minutes = iter([0, 59, 60, 61, 119, 120, *[120] * 99])
    runs.train(job, run, quiet(), clock=minutes.__next__)
    # The clock is looked at when an epoch begins, after its steps, after a save.
    assert saved == [2, 5, 10, 15]
    assert outcome(job, run) == expected


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_at_any_step(tmp_path: Path, expected: Any, step: int) -> None:
    job, run = make_job(step, kill), RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(Killed):
        runs.train(job, run, quiet(), clock=every_second_step())
    assert run.checkpoint_path.exists() == (step > 1 + 1)
    assert resumed(run.path) == expected


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_renaming(
    tmp_path: Path, expected: Any, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that training writes appears by a renaming, the last word of it."""
    replace = os.replace
    left = 0

    def deadly(source: str, target: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            raise Killed
        replace(source, target)
        if left == 0:
            raise Killed

    monkeypatch.setattr(os, "replace", deadly)
    for count in itertools.count(1):
        run = RunFolder.create(tmp_path / str(count), CONFIG)
        left = count
        try:
            runs.train(make_job(), run, quiet(), clock=every_step())
        except Killed:
            assert resumed(run.path) == expected
        else:
            break
    assert count == 1 + 3 + STEPS  # none left to be killed at; lines; checkpoints


def test_killed_before_the_first_save(tmp_path: Path, expected: Any) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG)
    run.log(epoch=1, step=5, loss=1.0, per_second=3)
    assert resumed(run.path) == expected


def test_a_lost_checkpoint_is_not_trained_over(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    run.log(epoch=1, step=5)
    run.log(epoch=2, step=10)
    with pytest.raises(RunError, match="the file is lost"):
        runs.train(make_job(), run, quiet(), resume=True)
    assert len(run.metrics()) == 2


def test_a_cut_last_line_does_not_count(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log(epoch=1, step=5, loss=1.0)
    whole = run.metrics_path.read_bytes()
    run.log(epoch=2, step=10, loss=0.5)
    both = run.metrics_path.read_bytes()
    for length in range(len(whole), len(both)):
        run.metrics_path.write_bytes(both[:length])
        # Only the line break may be missing.
        complete = length == len(both) - 1
        assert [m["step"] for m in run.metrics()] == ([5, 10] if complete else [5])
        run.forget_after(5)
        assert run.metrics_path.read_bytes() == whole
    run.log(epoch=2, step=10, loss=0.5)
    assert run.metrics_path.read_bytes() == both


GOOD = '{"epoch": 1, "step": 5}'
FIELDS = [
    *('"step": "5"', '"step": true', '"step": 5.0', '"epoch": 0', '"epoch": 6'),
    *('"epoch": null', f'"step": 1{"0" * 40}', f'"step": 1{"0" * 5000}'),
    *('"loss": "low"', '"loss": null', '"loss": [1]', '"loss": {}', '"loss": true'),
    *('"per_second": "1 2"', '"val_bleu": "nan "', f'"loss": {"[" * 9999}'),
]
DAMAGED = ["{", "", "[]", "{}", "\0\0", "[" * 9999, '{"epoch": 1}', '{"step": 5}']
DAMAGED += [f'{{"epoch": 1, "step": 5, {field}}}' for field in FIELDS]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    run = RunFolder(tmp_path)
    run.metrics_path.write_text(f"{GOOD}\n{line}\n{GOOD}\n")
    before = run.metrics_path.read_bytes()
    log = partial(run.log, epoch=3, step=11)
    for use in (run.metrics, lambda: run.forget_after(5), log):
        with pytest.raises(RunError, match=r"metrics\.jsonl: line 2 is damaged"):
            use()
    assert run.metrics_path.read_bytes() == before


def test_the_same_line_is_not_logged_twice(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for score in (0.5, 0.5, 0.25):
        run.log(epoch=2, step=10, val_bleu=score)
    assert [m["val_bleu"] for m in run.metrics()] == [0.5, 0.25]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    for name in ("metrics.jsonl", "checkpoint.h5", "samples.png"):
        (tmp_path / f".{name}.0123abcd.part").write_text("half")
    (tmp_path / "mine.part").write_text("mine")
    with run.held():
        left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".lock", "config.json", "mine.part"]


def test_one_process_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    with run.held():
        for resume in (False, True):
            with pytest.raises(RunError, match="another process is training in"):
                runs.train(make_job(), run, quiet(), resume=resume)
    assert not run.checkpoint_path.exists()
    runs.train(make_job(), run, quiet())


def test_after_each_epoch_it_is_logged_saved_and_told(tmp_path: Path) -> None:
    run, seen = RunFolder.create(tmp_path, CONFIG), []

    def look() -> None:
        job = make_job()
        if run.metrics():
            run_checkpoint.restore(job, run)
        seen.append((len(run.metrics()), job.step))

    runs.train(make_job(), run, quiet(), on_epoch=look)
    assert seen == [(0, 0), (1, 5), (2, 10), (3, 15)]
    path = tmp_path / "half"
    with pytest.raises(StopError):
        runs.train(make_job(7), half := RunFolder.create(path, CONFIG), quiet())
    resumed(half.path, on_epoch=lambda: seen.append(len(half.metrics())))
    assert seen[4:] == [1, 2, 3]


def test_killed_after_logging_before_saving(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG)
    run.log(epoch=1, step=5, loss=1.0)
    run.log(epoch=2, step=10, loss=0.5)
    run.forget_after(5)
    assert [m["step"] for m in run.metrics()] == [5]


def test_a_pipe_in_a_files_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for path, use in (
        (run.metrics_path, run.metrics),
        (run.config_path, run.config),
        (run.preparation_path, run.preparation),
    ):
        os.mkfifo(path)
        with pytest.raises(RunError, match=f"{path.name}' is a pipe"):
            use()


# Two at once


def test_a_settings_file_that_is_replaced_lets_nobody_in(tmp_path: Path) -> None:
    """The lock lies on a file that nothing replaces."""
    run = RunFolder.create(tmp_path / "run", CONFIG)
    with run.held():
        run.write_config({**CONFIG, "data": "moved"})
        with pytest.raises(RunError, match="another process is training in"):
            runs.train(make_job(), run, quiet())


def begin(path: Path, number: int) -> bool:
    """Begin a run; say whether that was possible."""
    try:
        RunFolder.create(path, {"number": number}, {"words": number})
    except RunError as error:
        message = str(error)
        assert "holds a run already" in message or "another process" in message
        return False
    return True


def test_of_two_runs_that_begin_in_a_folder_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a second one begin amid each operation of the first on the disk."""
    counted, interloper = itertools.count(1), [0, tmp_path]
    second: list[bool] = []

    def watch(owner: Any, name: str) -> None:
        operation = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            if not second and next(counted) == interloper[0]:
                second.append(False)  # it is not watched itself
                second[0] = begin(interloper[1], 2)
            return operation(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((os, "mkdir"), (os, "replace"), (os, "fsync"), (os, "stat")):
        watch(owner, name)
    for owner, name in ((Path, "open"), (Path, "exists"), (Path, "write_text")):
        watch(owner, name)
    winners = set()
    for number in itertools.count(1):
        path = tmp_path / str(number)
        counted, interloper[:], second[:] = itertools.count(1), [number, path], []
        first = begin(path, 1)
        if not second:
            break
        assert first != second[0]
        winner = 1 if first else 2
        assert RunFolder.open(path).config() == {"number": winner}
        assert RunFolder.open(path).preparation() == {"words": winner}
        winners.add(winner)
    assert winners == {1, 2}
    assert number > 10


def _begin_together(barrier: Any, folder: Path, number: int, answers: Any) -> None:
    for round_ in range(25):
        barrier.wait()
        answers.put((round_, number, begin(folder / str(round_), number)))


def test_of_many_processes_that_begin_in_a_folder_one_does(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, answers = fork.Barrier(4), fork.Queue()
    children = [
        fork.Process(target=_begin_together, args=(barrier, tmp_path, n, answers))
        for n in range(4)
    ]
    for child in children:
        child.start()
    found = [answers.get(timeout=60) for _ in range(4 * 25)]
    for child in children:
        child.join()
    for round_ in range(25):
        winners = [n for r, n, won in found if r == round_ and won]
        assert len(winners) == 1
        run = RunFolder.open(tmp_path / str(round_))
        assert run.config() == {"number": winners[0]}


class OneMoment(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls(2026, 5, 4, 3, 2, 1, tzinfo=tz)


def test_runs_that_begin_in_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looked first whether a name is free would be too early, or too late."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "datetime", OneMoment)
    make, others = Path.mkdir, []

    def overtaken(path: Path, *args: Any, **options: Any) -> None:
        if path.parent.name == "runs" and len(others) < 3:
            others.append(path)
            make(path)  # another process was faster
        make(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", overtaken)
    path = new_folder("caption")
    assert path not in others
    assert path.is_dir()
    assert path.name == "caption-20260504-030201-4"


def test_no_folder_for_results_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(RunError, match="runs is a file"):
        new_folder("caption")


# All of a checkpoint or nothing


def state_of(job: Job) -> Any:
    """Everything that a checkpoint has of a job."""
    arrays = {**job.model.state_dict(), **job.optimizer.state_dict()}
    texts = {name: np.asarray(value).tobytes() for name, value in arrays.items()}
    more = (job.schedule.state_dict(), job.step, job.epoch_loss, job.start_loss)
    return texts, job.generator.get_state(), more


MISFITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "weights": lambda s: s["model"].popitem(),
    "moments": lambda s: s["optimizer"].popitem(),
    "rate": lambda s: s["optimizer"].update(lr="fast"),
    "kind": lambda s: s["optimizer"].update(optimizer="SGD"),
    "generator": lambda s: s.update(generator={"bit_generator": "MT19937"}),
    "no generator": lambda s: s.update(generator=None),
    "step": lambda s: s.update(step=999),
    "steps": lambda s: s["extra"]["schedule"].update(steps=3),
    "peak": lambda s: s["extra"]["schedule"].update(peak=1.0),
    "schedule": lambda s: s["extra"].update(schedule=[1]),
    "loss": lambda s: s["extra"].update(epoch_loss="low"),
    "start": lambda s: s["extra"].update(start_loss=[]),
    "infinite start": lambda s: s["extra"].update(epoch_loss=10**400),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_checkpoint_that_does_not_fit_changes_nothing(
    tmp_path: Path, misfit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(StopError):
        runs.train(make_job(7), run, quiet())
    saved = mg.load_checkpoint(run.checkpoint_path)._asdict()
    MISFITS[misfit](saved)
    job = make_job()
    job.update(job.batches(0)[0])
    before = state_of(job)
    spoilt = run_checkpoint.Checkpoint(**saved)
    monkeypatch.setattr(mg, "load_checkpoint", lambda _: spoilt)
    with pytest.raises(RunError, match="is no checkpoint of this run's training"):
        run_checkpoint.restore(job, run)
    assert state_of(job) == before


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Python's own handler: a shell starts background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_second_interrupt_stops_at_once() -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(RunError, match="go on with that run by --resume"):
        RunFolder.create(tmp_path, CONFIG)
    run.log(epoch=1, step=1)
    run.config_path.unlink()
    with pytest.raises(RunError, match="holds a run already"):
        RunFolder.create(tmp_path, CONFIG)


def test_a_folder_without_settings_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.json is missing"):
        RunFolder.open(tmp_path)


def test_what_was_never_saved_cannot_be_restored(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(RunError, match=r"checkpoint\.h5 is missing: the run was"):
        run_checkpoint.restore(make_job(), run)


def test_minibatches_are_everything_once_and_differ_by_epoch() -> None:
    first, again, second = (minibatches(10, 4, 0, e) for e in (0, 0, 1))
    assert [len(b) for b in first] == [4, 4, 2]
    assert sorted(np.concatenate(first)) == list(range(10))
    assert np.concatenate(first).tolist() == np.concatenate(again).tolist()
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_new_paths_do_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len({new_folder("caption") for _ in range(3)}) == 3


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    console = quiet()
    run = RunFolder.create(tmp_path, CONFIG)
    runs.train(make_job(), run, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["epoch", "1/3"],
        ["epoch", "2/3"],
        ["epoch", "3/3"],
    ]
    assert "\x1b" not in text
    assert all(" words/s " in line for line in lines)
    assert lines[-1].endswith(" 0 s left")


def test_live_bar_on_a_terminal(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    run = RunFolder.create(tmp_path, CONFIG)
    runs.train(replace(make_job(), unit="letters"), run, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" in text
    assert "letters/s" in text


def test_a_finished_run_whose_lines_were_lost_is_scored_all_the_same(
    tmp_path: Path,
) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    run.log_scores(3, val_bleu=0.5)
    run.log_scores(9, val_exact=0.25)
    assert run.metrics() == [
        {"epoch": 3, "step": 3, "val_bleu": 0.5},
        {"epoch": 3, "step": 3, "val_exact": 0.25},
    ]


def test_a_step_runs_compiled_or_as_it_is_written(tmp_path: Path) -> None:
    found = []
    for compiled in (True, False):
        job, run = make_job(), RunFolder.create(tmp_path / str(compiled), {}, {})
        job.compiled = compiled
        runs.train(job, run, quiet())
        found.append([job.model.state_dict(), [m["loss"] for m in run.metrics()]])
        assert ("_compiled" in vars(job)) is compiled
    for (name, ours), theirs in zip(
        found[0][0].items(), found[1][0].values(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
