"""Does the shared loop stop, save and go on without changing how training ends?"""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import minigrad as mg
import nn
from apps import run as runs

CONFIG = {"app": "line"}


def make_job(stop_at: int | None = None) -> runs.Job:
    """A small regression with dropout, so that the generator's state counts."""
    generator = mg.Generator(0)
    model = nn.Sequential(
        nn.Linear(3, 8, generator=generator),
        nn.Dropout(0.5, generator=generator),
        nn.Linear(8, 1, generator=generator),
    )
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    optimizer = nn.Adam(model.parameters(), lr=0.01)
    calls = 0

    def loss(batch: np.ndarray) -> tuple[mg.Tensor, int]:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            signal.raise_signal(signal.SIGINT)
        rows = x[batch]
        return nn.mse_loss(model(rows), rows.sum(axis=1, keepdims=True)), len(rows)

    return runs.Job(
        model=model,
        optimizer=optimizer,
        schedule=nn.CosineWithWarmup(optimizer, 2, 15),
        generator=generator,
        epochs=3,
        batches=lambda epoch: runs.minibatches(20, 4, 1, epoch),
        loss=loss,
        max_norm=1.0,
    )


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def outcome(job: runs.Job, run: runs.RunFolder) -> tuple[list[object], list[object]]:
    """The parameters, and the logged losses, after training."""
    weights = [(k, v.tobytes()) for k, v in job.model.state_dict().items()]
    return weights, [(m["epoch"], m["step"], m["loss"]) for m in run.metrics()]


@pytest.mark.parametrize("stop_at", [1, 4, 5, 6, 10, 14])
def test_stopped_and_resumed_is_not_stopped(tmp_path: Path, stop_at: int) -> None:
    whole, run = make_job(), runs.RunFolder.create(tmp_path / "whole", CONFIG)
    assert runs.train(whole, run, quiet())
    expected = outcome(whole, run)
    assert len(expected[1]) == 3

    stopped, run = make_job(stop_at), runs.RunFolder.create(tmp_path / "half", CONFIG)
    assert not runs.train(stopped, run, quiet())
    assert stopped.step == stop_at

    resumed, run = make_job(), runs.RunFolder.open(tmp_path / "half")
    runs.restore(resumed, run)
    assert resumed.step == stop_at
    assert runs.train(resumed, run, quiet())
    assert outcome(resumed, run) == expected


def test_killed_after_logging_before_saving(tmp_path: Path) -> None:
    run = runs.RunFolder.create(tmp_path / "run", CONFIG)
    run.log(epoch=1, step=5, loss=1.0)
    run.log(epoch=2, step=10, loss=0.5)
    run.forget_after(5)
    assert [m["step"] for m in run.metrics()] == [5]


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Python's own handler: a shell starts background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_second_interrupt_stops_at_once() -> None:
    with runs.Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    runs.RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(runs.RunError, match="go on with that run by --resume"):
        runs.RunFolder.create(tmp_path, CONFIG)


def test_a_folder_without_settings_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(runs.RunError, match=r"config\.json is missing"):
        runs.RunFolder.open(tmp_path)


def test_what_was_never_saved_cannot_be_restored(tmp_path: Path) -> None:
    run = runs.RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(runs.RunError, match=r"checkpoint\.h5 is missing: the run was"):
        runs.restore(make_job(), run)


def test_minibatches_are_everything_once_and_differ_by_epoch() -> None:
    first, again, second = (runs.minibatches(10, 4, 0, e) for e in (0, 0, 1))
    assert [len(b) for b in first] == [4, 4, 2]
    assert sorted(np.concatenate(first)) == list(range(10))
    assert np.concatenate(first).tolist() == np.concatenate(again).tolist()
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_new_paths_do_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = set()
    for _ in range(3):
        path = runs.new_path("caption")
        path.mkdir(parents=True)
        paths.add(path)
    assert len(paths) == 3


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    console = quiet()
    run = runs.RunFolder.create(tmp_path, CONFIG)
    runs.train(make_job(), run, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["epoch", "1/3"],
        ["epoch", "2/3"],
        ["epoch", "3/3"],
    ]
    assert "\x1b" not in text
    assert lines[-1].endswith(" 0 s left")


def test_live_bar_on_a_terminal(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    run = runs.RunFolder.create(tmp_path, CONFIG)
    runs.train(make_job(), run, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" in text
    assert "words/s" in text
