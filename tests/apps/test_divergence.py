"""Is training that learns nothing, or goes beyond all numbers, noticed and told?"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

import minigrad as mg
import nn
from apps import cli, run_checkpoint
from apps import run as runs
from apps import run_report as pages
from apps.job import Job
from apps.run_folder import RunError, RunFolder
from apps.signals import StopError
from tests.apps.jobs import CONFIG, STEPS, make_job, quiet
from tests.apps.test_report import Page, curves
from tests.apps.test_run import every_step
from tests.edited import edited

NAN, INF = math.nan, math.inf


def command(code: int, *arguments: object) -> Result:
    line = [str(argument) for argument in (*arguments, "--device", "cpu")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's would come between our lines
        result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert result.output.count("Error: ") == (code != 0)
    return result


def weights_of(run: RunFolder) -> dict[str, np.ndarray]:
    return mg.load_checkpoint(run.checkpoint_path).model


def job_with(change: Callable[[Job, mg.Tensor], mg.Tensor]) -> Job:
    """A job whose loss is changed, or whose weights are, at each step."""
    job = make_job()
    job.compiled = False  # what depends on the step could not be recorded once
    loss = job.loss
    job.loss = lambda *inputs: change(job, loss(*inputs))
    return job


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_the_first_loss_that_is_not_finite_stops(
    tmp_path: Path, step: int, value: float
) -> None:
    """Whenever it comes, what was saved last is good, and what is told is true."""

    def spoil(job: Job, loss: mg.Tensor) -> mg.Tensor:
        return loss * value if job.step + 1 == step else loss

    run = RunFolder.create(tmp_path / "run", CONFIG)
    job = job_with(spoil)
    with pytest.raises(runs.DivergedError) as raised:
        runs.train(job, run, quiet(), clock=every_step())
    told = str(raised.value)
    assert told.startswith(f"the loss is {value} at step {step} (epoch {-(-step // 5)}")
    assert job.step == step
    if step == 1:
        assert "Nothing was saved yet" in told
        assert "look in the data" in told
        assert not run.checkpoint_path.exists()
        return
    assert "smaller --lr (this one's is 0.01)" in told
    assert f"The last good state, of step {step - 1}, is still in" in told
    saved = mg.load_checkpoint(run.checkpoint_path)
    assert saved.step == step - 1
    assert all(np.isfinite(array).all() for array in saved.model.values())
    assert all(math.isfinite(record["loss"]) for record in run.metrics())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, value: float
) -> None:
    """The loss of a step is that before its update, so it may be finite still."""

    def spoil(job: Job, loss: mg.Tensor) -> mg.Tensor:
        if job.step + 1 == 10:
            # Nothing reads it, so the loss stays finite.
            job.model.spare = nn.Parameter([value])
        return loss

    run = RunFolder.create(tmp_path / "run", CONFIG)
    job = job_with(spoil)
    with pytest.raises(runs.DivergedError, match="the weights of spare are not finite"):
        runs.train(job, run, quiet())
    assert mg.load_checkpoint(run.checkpoint_path).step == 5
    assert [record["epoch"] for record in run.metrics()] == [1]


def test_no_step_waits_for_more_than_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether weights are finite is asked before a save, and at no other step."""
    asked = []
    finite = Job.is_finite.fget

    def noted(job: Job) -> bool:
        asked.append(job.step)
        return bool(finite(job))  # type: ignore[misc]

    monkeypatch.setattr(Job, "is_finite", property(noted))
    runs.train(make_job(), RunFolder.create(tmp_path / "run", CONFIG), quiet())
    assert sorted(set(asked)) == [5, 10, 15]


@pytest.mark.parametrize("place", ["model", "optimizer"])
def test_a_checkpoint_that_is_not_finite_is_not_restored(
    tmp_path: Path, place: str
) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG)
    runs.train(make_job(), run, quiet())
    with edited(run.checkpoint_path) as file:
        arrays: list[h5py.Dataset] = []
        file[place].visititems(lambda _, node: arrays.append(node))
        array = next(a for a in arrays if a.dtype == np.float32)
        array[...] = np.full(array.shape, NAN)
    job = make_job()
    before = {name: a.tobytes() for name, a in job.model.state_dict().items()}
    with pytest.raises(RunError, match=r"checkpoint\.h5 holds numbers that are not"):
        run_checkpoint.restore(job, run)
    after = {name: a.tobytes() for name, a in job.model.state_dict().items()}
    assert after == before


def test_a_loss_that_ends_where_it_began_is_told() -> None:
    def told(start: float, *losses: float) -> str:
        first, *others = losses
        return pages.learned_nothing(
            [
                {"epoch": 1, "step": 5, "loss": first, "start_loss": start},
                *({"epoch": 2, "step": 9, "loss": loss} for loss in others),
                {"epoch": 2, "step": 9, "val_accuracy": 0.5},
            ]
        )

    assert "ended at 2, where it began (2): nothing was learned" in told(2.0, 3.0, 2.0)
    assert told(2.0, 1.5, 1e20)
    assert told(2.0, 1.99)
    assert not told(2.0, 1.9)
    assert not told(2.0, 2.5, 1.0)
    assert not pages.learned_nothing([{"epoch": 1, "step": 5, "loss": 1.0}])


def test_where_the_loss_began_survives_a_stop(tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path / "whole", CONFIG)
    runs.train(make_job(), whole, quiet())
    half = RunFolder.create(tmp_path / "half", CONFIG)
    with pytest.raises(StopError):
        runs.train(make_job(3), half, quiet())
    runs.train(make_job(), half, quiet(), resume=True)
    starts = [r["start_loss"] for run in (whole, half) for r in run.metrics()[:1]]
    assert starts[0] == starts[1] > 0


# What is logged is JSON


@pytest.mark.parametrize("value", [NAN, INF, -INF, np.float64(NAN)])
def test_a_number_that_json_lacks_is_written_and_read(
    tmp_path: Path, value: float
) -> None:
    run = RunFolder.create(tmp_path, CONFIG)
    for _ in range(2):
        run.log(epoch=1, step=5, loss=value, val_matthews=0.5)
    (line,) = run.metrics_path.read_text().splitlines()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(line, parse_constant=refuse)["loss"] == str(float(value))
    (record,) = run.metrics()
    np.testing.assert_equal(record["loss"], float(value))
    run.forget_after(5)
    assert run.metrics_path.read_text() == f"{line}\n"


def test_older_runs_wrote_nan_without_quotes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics_path.write_text('{"epoch": 1, "step": 5, "loss": NaN}\n')
    assert math.isnan(run.metrics()[0]["loss"])


@pytest.mark.parametrize(
    "loss", ["1e308", "-1e308", "1e-320", f"1{'0' * 400}", '"inf"']
)
def test_whatever_number_was_logged_the_page_can_be_drawn(
    tmp_path: Path, loss: str
) -> None:
    run = RunFolder(tmp_path)
    lines = [f'{{"epoch": {n}, "step": {n}, "loss": {loss}}}' for n in (1, 2**50)]
    run.metrics_path.write_text("\n".join([*lines, ""]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (plot,) = pages.plot_run(run.metrics(), epochs=3)
        assert plot.png.startswith(b"\x89PNG")
    assert curves(plot)


# As one meets it


def test_the_captioner_says_that_it_diverged(drawn: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--data", drawn, "--run", run, "--hidden-dim", 16, "--epochs", 2]
    output = command(1, "caption", "train", *arguments, "--lr", "1e20").output
    assert "so training stopped" in output
    assert "smaller --lr (this one's is 1e+20)" in output
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert not any(meta.get("http-equiv") == "refresh" for meta in page.all("meta"))
    assert "stopped on" in page.text("p")[1]


def test_the_judge_says_that_it_diverged_or_learned_nothing(tmp_path: Path) -> None:
    train = ["cola", "train", "--recipe", "transformer", "--max-train", 100]
    train += ["--epochs", 2, "--embed-dim", 8, "--hidden-dim", 8]
    output = command(1, *train, "--lr", "1e10", "--run", tmp_path / "a").output
    assert "so training stopped" in output
    # Steps so short that no weight moves.
    output = command(0, *train, "--lr", "1e-20", "--run", tmp_path / "b").output
    assert "nothing was learned" in output
    page = Page((tmp_path / "b" / "report.html").read_text(encoding="utf-8"))
    assert any("nothing was learned" in text for text in page.text("p"))


def spoilt(run: Path) -> None:
    with edited(run / "checkpoint.h5") as file:
        weights: list[h5py.Dataset] = []
        file["model"].visititems(lambda _, node: weights.append(node))
        weights[-1][...] = np.full(weights[-1].shape, INF)


def test_weights_of_a_run_that_are_not_finite_are_told(
    drawn: Path, tmp_path: Path
) -> None:
    small = ["--epochs", 1, "--hidden-dim", 8]
    caption, judge = tmp_path / "caption", tmp_path / "judge"
    command(0, "caption", "train", "--data", drawn, "--run", caption, *small)
    small += ["--embed-dim", 8, "--max-train", 50]
    command(0, "cola", "train", "--run", judge, *small)
    for run in (caption, judge):
        spoilt(run)
    for arguments in (
        ("caption", "sample", caption),
        ("caption", "evaluate", caption),
        ("caption", "train", "--resume", caption),
        ("cola", "judge", "A dog.", "--run", judge),
        ("cola", "evaluate", judge),
        ("cola", "train", "--resume", judge),
    ):
        assert "holds numbers that are not finite" in command(1, *arguments).output
