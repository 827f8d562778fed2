"""Does a run keep all that its use needs, and does it find data that were moved?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import minigrad as mg
from apps import cli
from apps.captioning import layout
from apps.captioning.app import APP
from apps.cola import app as judging
from apps.cola.sentences import Sentence, format_tsv
from apps.job import Job
from apps.run_folder import RunError, RunFolder
from tests.apps.jobs import interrupt
from tests.edited import edited

SMALL = ["--hidden-dim", 8, "--epochs", 1, "--device", "cpu"]


def command(code: int, *arguments: object) -> str:
    line = [str(argument) for argument in arguments]
    result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert result.output.count("Error: ") == (code in (1, 2))
    return result.output


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "trained"
    command(0, "caption", "train", "--data", drawn, "--run", run, *SMALL)
    return run


def copied(run: Path, to: Path, place: Path) -> Path:
    """A copy of a run, with its data in another place."""
    shutil.copytree(run, to)
    folder = RunFolder(to)
    folder.write_config({**folder.config(), "data": str(place)})
    return to


@pytest.fixture
def captioner(trained: Path, copy: Path, tmp_path: Path) -> Path:
    """A run whose data, the folder `copy`, can be moved."""
    return copied(trained, tmp_path / "captioner", copy)


def write_sentences(folder: Path) -> None:
    folder.mkdir()
    good = [Sentence(f"the dog saw {n} cats .", 1, "a") for n in range(20)]
    bad = [Sentence(f"dog the saw {n} cats .", 0, "b") for n in range(20)]
    for name in ("in_domain_train", "in_domain_dev"):
        (folder / f"{name}.tsv").write_text(format_tsv([*good, *bad]))


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """A corpus that can be moved."""
    write_sentences(tmp_path / "sentences")
    return tmp_path / "sentences"


@pytest.fixture(scope="module", params=["transformer", "cola", "course"])
def trained_judge(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind of judge."""
    folder = tmp_path_factory.mktemp("runs")
    write_sentences(folder / "sentences")
    line = ["--recipe", request.param, "--data", folder / "sentences"]
    line += ["--run", folder / "run", "--epochs", 1, "--device", "cpu"]
    if request.param != "cola":
        line += ["--hidden-dim", 8, "--embed-dim", 8]
    command(0, "cola", "train", *line)
    return folder / "run"


@pytest.fixture
def judge(trained_judge: Path, sentences: Path, tmp_path: Path) -> Path:
    """A run of each kind of judge, whose sentences can be moved."""
    return copied(trained_judge, tmp_path / "judge", sentences)


def scored(output: str) -> list[str]:
    """The lines that tell of scores."""
    return [line for line in output.splitlines() if "BLEU" in line]


def test_a_captioner_is_told_where_its_data_are(
    captioner: Path, copy: Path, tmp_path: Path
) -> None:
    before = scored(command(0, "caption", "evaluate", captioner))
    moved = copy.rename(tmp_path / "moved")
    uses = [
        ("caption", "evaluate", captioner),
        ("caption", "sample", captioner),
        ("caption", "train", "--resume", captioner),
    ]
    for arguments in uses:
        told = command(1, *arguments)
        assert f"{copy}, which {captioner} was trained on, is not there" in told
        assert "say where it is now by --data" in told
    for arguments in uses:
        told = command(0, *arguments, "--data", moved)
        if "evaluate" in arguments:
            assert scored(told) == before
    # A run that went on with them knows from then on.
    assert RunFolder(captioner).config()["data"] == str(moved)
    command(0, "caption", "sample", captioner)


def test_a_judge_is_told_where_its_sentences_are(
    judge: Path, sentences: Path, tmp_path: Path
) -> None:
    before = command(0, "cola", "evaluate", judge)
    moved = sentences.rename(tmp_path / "moved")
    resume = ("cola", "train", "--resume", judge)
    for arguments in (("cola", "evaluate", judge), resume):
        assert "say where it is now by --data" in command(1, *arguments)
    assert command(0, "cola", "evaluate", judge, "--data", moved) == before
    command(0, *resume, "--data", moved)
    assert RunFolder(judge).config()["data"] == str(moved)


def test_judging_needs_nothing_but_the_run(
    judge: Path, sentences: Path, tmp_path: Path
) -> None:
    text = "the cat saw a dog ."
    quiet = Console(quiet=True)
    with_data = judging.APP.load(judge, quiet).probabilities([text])
    shutil.rmtree(sentences)
    elsewhere = judge.rename(tmp_path / "elsewhere")
    alone = judging.load_judge(elsewhere, quiet)
    np.testing.assert_array_equal(alone.probabilities([text]), with_data)
    assert "probability" in command(0, "cola", "judge", text, "--run", elsewhere)


def change_caption(folder: Path) -> None:
    with h5py.File(folder / layout.CAPTIONS_FILE, "r+") as file:
        captions = file["train_captions"]
        captions[0, 1] = captions[0, 1] % 5 + 4


def test_other_data_are_refused_wherever_they_are_said_to_be(
    captioner: Path, copy: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(copy, tmp_path / "other"))
    change_caption(other)
    config = RunFolder(captioner).config()
    # Also before anything was saved of which the checkpoint could tell.
    for _ in range(2):
        for use in (["evaluate"], ["sample"], ["train", "--resume"]):
            told = command(1, "caption", *use, captioner, "--data", other)
            assert f"the data in {other} are not those" in told
        (captioner / "checkpoint.h5").unlink(missing_ok=True)
    assert RunFolder(captioner).config() == config


def test_training_goes_on_with_the_scale_it_began_with(
    copy: Path, captioner: Path
) -> None:
    """The fingerprint does not cover features, whose sums depend on the machine."""
    quiet = Console(quiet=True)
    before = APP.load(captioner, quiet).standard
    with h5py.File(copy / layout.features_file("train"), "r+") as file:
        file["features"][...] = file["features"][...] * 3 + 1
    after = APP.load(captioner, quiet).standard
    np.testing.assert_array_equal(after.mean, before.mean)
    assert after.scale == before.scale


def test_a_stopped_run_goes_on_with_moved_data_to_the_same_end(
    copy: Path, captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Job.update

    def interrupted(job: Job, batch: Any) -> Any:
        if job.step == 1:
            interrupt()
        return update(job, batch)

    half = tmp_path / "half"
    with monkeypatch.context() as patch:
        patch.setattr(Job, "update", interrupted)
        command(130, "caption", "train", "--data", copy, "--run", half, *SMALL)
    moved = copy.rename(tmp_path / "moved")
    command(0, "caption", "train", "--resume", half, "--data", moved)
    models = [
        mg.load_checkpoint(run / "checkpoint.h5").model for run in (captioner, half)
    ]
    for name, array in models[0].items():
        np.testing.assert_array_equal(models[1][name], array)


def as_before(run: Path) -> None:
    """A run as it was written before it kept its preparation."""
    (run / "preparation.json").unlink()
    with edited(run / "checkpoint.h5") as file:
        header = json.loads(file.attrs["header"])
        for name in ("preparation", "start_loss"):
            del header["extra"][name]
        file.attrs["header"] = json.dumps(header)


def test_older_runs_are_read(captioner: Path, copy: Path, tmp_path: Path) -> None:
    as_before(captioner)
    command(0, "caption", "sample", captioner)
    moved = copy.rename(tmp_path / "moved")
    for use in (["evaluate"], ["sample"], ["train", "--resume"]):
        command(0, "caption", *use, captioner, "--data", moved)


def test_an_older_judge_is_read(judge: Path) -> None:
    as_before(judge)
    command(0, "cola", "judge", "the dog", "--run", judge)
    command(0, "cola", "evaluate", judge)


# Damaged preparations

DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no list": lambda _: [],
    "nothing": lambda _: {},
    "empty": lambda _: None,
    "no mean": lambda p: {**p, "mean": None},
    "a deep mean": lambda p: {**p, "mean": [p["mean"]]},
    "a mean of words": lambda p: {**p, "mean": ["a"]},
    "a mean that is none": lambda p: {**p, "mean": [float("nan")] * len(p["mean"])},
    "a scale of 0": lambda p: {**p, "scale": 0},
    "a scale of words": lambda p: {**p, "scale": "wide"},
    "a scale too far": lambda p: {**p, "scale": 10**400},
    "other data": lambda p: {**p, "data": "x"},
    "another word": lambda p: {**p, "vocabulary": ["x", *p["vocabulary"][1:]]},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_preparation_is_one_message(damage: str, captioner: Path) -> None:
    path = captioner / "preparation.json"
    path.write_text(json.dumps(DAMAGES[damage](json.loads(path.read_text()))))
    told = command(1, "caption", "sample", captioner)
    assert "preparation.json" in told or "are not those" in told


JUDGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda _: {},
    "no tokens": lambda p: {**p, "tokens": None},
    "tokens of numbers": lambda p: {**p, "tokens": [1, 2, 3]},
    "tokens twice": lambda p: {**p, "tokens": [*p["tokens"], p["tokens"][-1]]},
    "one token": lambda p: {**p, "tokens": ["a"]},
    "other tokens": lambda p: {**p, "tokens": [*p["tokens"], "x"]},
    "another kind": lambda p: {**p, "kind": "grams" if "max_length" in p else "x"},
    "no length": lambda p: {**p, "max_length": None, "common": None},
    "too long": lambda p: {**p, "max_length": 10**12, "common": 10**12},
}


@pytest.mark.parametrize("damage", JUDGES)
def test_a_judges_damaged_preparation_is_one_message(damage: str, judge: Path) -> None:
    path = judge / "preparation.json"
    path.write_text(json.dumps(JUDGES[damage](json.loads(path.read_text()))))
    assert "preparation.json" in command(1, "cola", "judge", "a dog", "--run", judge)
    with pytest.raises(RunError, match=r"preparation\.json"):
        judging.APP.load(judge, Console(quiet=True))


def test_a_preparation_that_is_lost_is_told(captioner: Path) -> None:
    (captioner / "preparation.json").unlink()
    told = command(1, "caption", "sample", captioner)
    assert "preparation.json is missing, or not what checkpoint.h5" in told
