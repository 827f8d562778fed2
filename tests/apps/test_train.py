"""Do the settings of a run do what they say, and does a run keep them?"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from apps import cli
from apps.captioning import data, layout, sample, train
from apps.captioning.decode import Decoding
from apps.captioning.model import Captioner, Ensemble
from apps.captioning.train import Settings
from apps.job import Job
from apps.run_folder import RunFolder

SMALL = ["--wordvec-dim", 8, "--hidden-dim", 16, "--epochs", 2, "--lr", 0.05]


def run(*arguments: object, code: int = 0) -> Result:
    line = ["caption", *map(str, arguments)]
    result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def test_some_captions_are_learned_from(drawn: Path) -> None:
    every = train.open_data(Settings(str(drawn)))
    some = train.open_data(Settings(str(drawn), max_train=7, seed=3))
    assert len(some.train.captions) == 7
    assert len(some.val.captions) == len(every.val.captions)
    rows = {
        (picture, *ids)
        for picture, ids in zip(
            every.train.image_indices.tolist(),
            every.train.captions.tolist(),
            strict=True,
        )
    }
    pairs = zip(some.train.image_indices, some.train.captions, strict=True)
    assert {(int(picture), *ids.tolist()) for picture, ids in pairs} <= rows
    other = train.open_data(Settings(str(drawn), max_train=7, seed=4))
    assert not np.array_equal(some.train.captions, other.train.captions)


def test_more_captions_than_there_are_is_all_of_them(drawn: Path) -> None:
    every = train.open_data(Settings(str(drawn)))
    same = train.open_data(Settings(str(drawn), max_train=10**6))
    np.testing.assert_array_equal(every.train.captions, same.train.captions)


def test_features_are_gone_through_once(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []

    def counted(split: data.Split, blank: np.ndarray) -> None:
        walks.append(split.name)

    monkeypatch.setattr(data.Split, "_require_written", counted)
    train.build(Settings(str(drawn), hidden_dim=8, max_train=7, tokens="char"))
    assert sorted(walks) == ["train", "val"]


def test_full_features(copy: Path) -> None:
    for split in ("train", "val"):
        with h5py.File(copy / layout.features_file(split)) as short:
            values = np.repeat(short["features"][:], 2, axis=1)
        with h5py.File(copy / layout.features_file(split, "full"), "w") as full:
            full["features"] = values
    short, _ = train.build(Settings(str(copy), hidden_dim=8))
    full, _ = train.build(Settings(str(copy), hidden_dim=8, features="full"))
    assert full.data.train.input_dim == 2 * short.data.train.input_dim


def test_padding_that_all_captions_have_changes_nothing(drawn: Path) -> None:
    trained, job = train.build(Settings(str(drawn), hidden_dim=8, dropout=0.0))
    lengths = (trained.data.train.captions != 0).sum(axis=1)
    batch = np.argsort(lengths)[:3]
    (features, captions), words = job.inputs(batch)
    trimmed = job.loss(features, captions)
    split = trained.data.train
    whole = job.loss(features, split.captions[batch])
    assert captions.shape[1] == lengths[batch].max() < split.captions.shape[1]
    assert trimmed.item() == pytest.approx(whole.item(), rel=1e-6)
    assert words == (lengths[batch] - 1).sum()


def test_members_start_differently_and_are_clipped_as_one_alone(drawn: Path) -> None:
    trained, job = train.build(Settings(str(drawn), hidden_dim=8, members=4))
    assert isinstance(trained.model, Ensemble)
    starts = {m.project.W.numpy().tobytes() for m in trained.model.members}
    assert len(starts) == 4
    _, alone = train.build(Settings(str(drawn), hidden_dim=8))
    assert job.max_norm == alone.max_norm / 2


def test_every_draw_is_some_members(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _ = train.build(Settings(str(drawn), hidden_dim=8, members=3))
    asked: list[tuple[int, ...]] = []
    choose = Captioner.sample

    def noted(model: Any, features: Any, length: int, how: Any, numbers: Any) -> Any:
        assert len(features) == len(numbers) > 0
        asked.extend(numbers)
        return choose(model, features, length, how, numbers)

    monkeypatch.setattr(Captioner, "sample", noted)
    for draws in (2, 3, 7):
        asked.clear()
        how = Decoding("mbr", draws=draws)
        sample.describe(trained, trained.data.val, np.array([4, 1]), how)
        expected = [(p, r, n) for p in (1, 4) for r in (0, 1) for n in range(draws)]
        assert sorted(asked) == expected


# The same bits again are a CPU's alone: a GPU adds in whatever order it comes to.
EXACT = ["--device", "cpu"]
OPTIONS = ["--tokens", "char", "--members", 2, "--max-train", 100, "--draws", 4]


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "trained"
    line = ["--data", drawn, "--run", path, *SMALL, *OPTIONS, *EXACT]
    output = run("train", *line).output
    assert "invented words" in output
    return path


def test_a_run_keeps_its_settings(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    assert RunFolder(trained).settings(Settings).decoding == Decoding("mbr", draws=4)
    for name, value in {"tokens": "char", "members": 2, "max_train": 100}.items():
        assert config[name] == value


def test_a_run_is_scored_again_as_it_was(trained: Path) -> None:
    scored = [r["val_bleu"] for r in RunFolder(trained).metrics() if "val_bleu" in r]
    output = run("evaluate", trained, *EXACT).output
    assert re.search(rf"unigram BLEU *│ *{scored[0]:.3f}", output)
    assert output == run("evaluate", trained, "--draws", 4, *EXACT).output
    other = ["--how", "sample", "--seed", 7, *EXACT]
    assert output != run("evaluate", trained, *other).output


def test_all_of_it_goes_on_bit_for_bit(
    drawn: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Job.update

    def interrupted(job: Job, batch: np.ndarray) -> tuple[float, int]:
        if job.step in (1, 3):
            signal.raise_signal(signal.SIGINT)
        return update(job, batch)

    path = tmp_path / "half"
    with monkeypatch.context() as patch:
        patch.setattr(Job, "update", interrupted)
        line = ["--data", drawn, "--run", path, *SMALL, *OPTIONS, *EXACT]
        run("train", *line, code=130)
        # It stopped before its fourth step, of which there are four.
    run("train", "--resume", path, *EXACT)
    with (
        h5py.File(path / "checkpoint.h5") as resumed,
        h5py.File(trained / "checkpoint.h5") as straight,
    ):
        names: list[str] = []
        straight.visit(names.append)
        for name in names:
            if isinstance(straight[name], h5py.Dataset):
                np.testing.assert_array_equal(resumed[name][()], straight[name][()])
    assert names


@pytest.mark.parametrize("option", [["--epochs", 3], ["--how", "beam"], ["--seed", 0]])
def test_settings_of_a_run_that_goes_on_cannot_be_changed(
    option: list[object], trained: Path
) -> None:
    output = run("train", "--resume", trained, *option, code=2).output
    assert f"{option[0]} has no effect with --resume" in output


def test_more_words_than_there_are_is_told_before_training(
    drawn: Path, tmp_path: Path
) -> None:
    line = ["--data", drawn, "--run", tmp_path / "run", *SMALL, "--top-k", 1000]
    assert "top_k is 1000, but must be at most" in run("train", *line, code=1).output
    assert not (tmp_path / "run").exists()
