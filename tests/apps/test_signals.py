"""Is work that is asked to stop saved and told, however it is asked?

Signals are raised inside the process at a chosen step; nothing here waits.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import minigrad as mg
from apps import cli
from apps import run as runs
from apps.captioning import app as captioning
from apps.job import Job
from apps.run_folder import RunFolder
from apps.signals import Interrupt, StopError, ending_by_signals
from tests.apps.jobs import CONFIG, make_job, outcome, quiet
from tests.apps.test_report import Page

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
NAMES = [number.name for number in SIGNALS]
SMALL = ["--wordvec-dim", "8", "--hidden-dim", "16", "--epochs", "2"]
SMALL += ["--device", "cpu"]


class Killed(BaseException):
    """What the system's own handler would do, but to the tests."""


def kill(number: int, _: object) -> None:
    raise Killed(number)


USUAL = {signal.SIGINT: signal.default_int_handler}
USUAL |= dict.fromkeys(SIGNALS[1:], kill)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Handlers as a program has them that was started by hand."""
    before = {n: signal.signal(n, handler) for n, handler in USUAL.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def waits_for_news(run: Path) -> bool:
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    return any(meta.get("http-equiv") == "refresh" for meta in page.all("meta"))


@pytest.mark.parametrize("number", SIGNALS, ids=NAMES)
@pytest.mark.parametrize("step", [1, 5, 7, 15])
def test_a_signal_stops_after_a_step_that_is_saved(
    tmp_path: Path, number: signal.Signals, step: int
) -> None:
    whole, run = (RunFolder.create(tmp_path / n, CONFIG) for n in ("whole", "half"))
    straight, again = make_job(), make_job()
    runs.train(straight, whole, quiet())
    with pytest.raises(StopError) as raised:
        runs.train(make_job(step, lambda: signal.raise_signal(number)), run, quiet())
    assert raised.value.number == number
    assert mg.load_checkpoint(run.checkpoint_path).step == step
    assert signal.getsignal(number) is USUAL[number]
    runs.train(again, run, quiet(), resume=True)
    assert outcome(again, run) == outcome(straight, whole)


@pytest.mark.parametrize("number", SIGNALS, ids=NAMES)
def test_a_command_says_how_to_go_on(
    drawn: Path, tmp_path: Path, number: signal.Signals, monkeypatch: Any
) -> None:
    update = Job.update

    def signalled(job: Job, batch: Any) -> Any:
        if job.step == 5:
            signal.raise_signal(number)
        return update(job, batch)

    run = tmp_path / "run"
    line = ["caption", "train", "--data", str(drawn), "--run", str(run), *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(Job, "update", signalled)
        result = CliRunner().invoke(cli.minigrad, line)
    assert result.exit_code == 128 + number, result.output
    assert f"To go on: minigrad caption train --resume {run}" in result.output
    assert not waits_for_news(run)
    line = ["caption", "train", "--resume", str(run), "--device", "cpu"]
    assert CliRunner().invoke(cli.minigrad, line).exit_code == 0
    assert not waits_for_news(run)


@pytest.mark.parametrize("second", SIGNALS, ids=NAMES)
@pytest.mark.parametrize("first", SIGNALS, ids=NAMES)
def test_a_second_signal_ends_at_once(
    first: signal.Signals, second: signal.Signals
) -> None:
    expected = KeyboardInterrupt if second == signal.SIGINT else SystemExit
    with ending_by_signals(), Interrupt() as interrupt:
        signal.raise_signal(first)
        assert interrupt.requested == first
        with pytest.raises(expected) as raised:
            signal.raise_signal(second)
    if expected is SystemExit:
        assert raised.value.code == 128 + second


@pytest.mark.parametrize("number", SIGNALS[1:], ids=NAMES[1:])
def test_what_is_ignored_stays_so(number: signal.Signals) -> None:
    """As for a program that `nohup` started."""
    signal.signal(number, signal.SIG_IGN)
    with ending_by_signals(), Interrupt() as interrupt:
        signal.raise_signal(number)
        assert interrupt.requested is None
    assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", SIGNALS[1:], ids=NAMES[1:])
def test_elsewhere_a_signal_ends_what_is_done_and_clears_up(
    number: signal.Signals,
) -> None:
    cleared = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            cleared.append(True)

    with pytest.raises(SystemExit) as raised, ending_by_signals():
        work()
    assert raised.value.code == 128 + number
    assert cleared
    assert signal.getsignal(number) is kill


FAILURES = [KeyboardInterrupt, MemoryError, OSError]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("place", ["a step", "a save", "scoring"])
def test_however_training_ends_its_page_waits_for_no_news(
    drawn: Path, tmp_path: Path, place: str, failure: type, monkeypatch: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure("gone")

    run = tmp_path / "run"
    owner, name = {
        "a step": (Job, "update"),
        "a save": (mg, "save_checkpoint"),
        "scoring": (captioning, "evaluate"),
    }[place]
    monkeypatch.setattr(owner, name, fail)
    line = ["caption", "train", "--data", str(drawn), "--run", str(run), *SMALL]
    assert CliRunner().invoke(cli.minigrad, line).exit_code != 0
    assert "stopped on" in (run / "report.html").read_text(encoding="utf-8")
    assert not waits_for_news(run)


def test_a_run_that_another_process_trains_keeps_its_page(
    drawn: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    line = ["caption", "train", "--data", str(drawn), "--run", str(run.path), *SMALL]
    assert CliRunner().invoke(cli.minigrad, line).exit_code == 0
    page = run.path / "report.html"
    page.write_text("under way")
    with run.held():
        line = ["caption", "train", "--resume", str(run.path), "--device", "cpu"]
        result = CliRunner().invoke(cli.minigrad, line)
    assert result.exit_code == 1
    assert "another process is training" in result.output
    assert page.read_text() == "under way"


# In a process of its own


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=cli.HOUSE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


UNHEARD = """
    import os, signal, sys
    from apps import cli
    from apps.job import Job

    number, update = int(sys.argv.pop(1)), Job.update
    reading, writing = os.pipe()

    def unheard(job, batch):
        if job.step == 5:  # the last of an epoch, of which a line would tell
            os.dup2(writing, 1)
            os.close(writing)
            os.close(reading)
            signal.raise_signal(number)
        return update(job, batch)

    Job.update = unheard
    cli.main()
"""


@pytest.mark.parametrize("number", SIGNALS, ids=NAMES)
def test_an_output_that_was_closed_does_not_keep_from_saving(
    drawn: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A terminal that is closed takes its output with it."""
    run = tmp_path / "run"
    line = ["caption", "train", "--data", drawn, "--run", run, *SMALL, "--batch", 50]
    result = run_python(UNHEARD, int(number), *line)
    assert result.returncode == 128 + number, result.stderr
    assert "Traceback" not in result.stderr
    assert mg.load_checkpoint(run / "checkpoint.h5").step == 6
    assert [record["step"] for record in RunFolder(run).metrics()] == [6]
    assert not waits_for_news(run)


STOPPED_DRAWING = """
    import signal, sys
    from apps import cli
    from apps.captioning import shapes

    number = int(sys.argv.pop(1))

    def stop(folder, *_):
        (folder / "half").write_text("half")
        signal.raise_signal(number)

    shapes.make = stop
    cli.main()
"""


@pytest.mark.parametrize("number", SIGNALS[1:], ids=NAMES[1:])
def test_a_signal_leaves_nothing_half_drawn(
    tmp_path: Path, number: signal.Signals
) -> None:
    line = ["caption", "data", "make-shapes", tmp_path / "shapes"]
    result = run_python(STOPPED_DRAWING, int(number), *line)
    assert result.returncode == 128 + number, result.stderr
    assert not list(tmp_path.iterdir())
