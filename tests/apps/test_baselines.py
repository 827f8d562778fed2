"""Are captions counted as correct that are, and copied from the nearest picture?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from apps import cli
from apps.captioning import commands, data, evaluate, grammar, shapes
from apps.captioning.evaluate import Accuracy
from apps.run_folder import RunFolder


def compare(
    loaded: data.CaptionData, said: dict[int, list[str]]
) -> dict[str, Accuracy]:
    told = loaded.words(loaded.train.captions)
    return evaluate.compare(loaded, told, loaded.val, said)


@pytest.mark.parametrize("wording", range(5))
def test_true_captions_are_all_correct(drawn: Path, wording: int) -> None:
    loaded = data.load_data(drawn)
    true = [loaded.words(loaded.val.references(p))[wording] for p in range(12)]
    shares = compare(loaded, dict(enumerate(true)))
    assert shares["captioner"] == Accuracy(correct=1, things=1, relation=1)


def test_baselines_get_what_no_understanding_gets(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    shares = compare(loaded, {p: ["a"] for p in range(12)})
    assert list(shares) == ["captioner", "nearest", "commonest"]
    assert shares["captioner"] == Accuracy(correct=0, things=0, relation=0)
    # Training tells of no combination that validation tells of.
    assert shares["nearest"].correct == shares["commonest"].correct == 0


def test_shares_count_each_fault_apart() -> None:
    scene = shapes.place(
        [("red", "circle"), ("blue", "square")], "above", np.random.default_rng(0)
    )
    told = [
        "a red circle above a blue square",
        "a red circle below a blue square",
        "a red circle above a green square",
        "a circle",
    ]
    shares = Accuracy.of([caption.split() for caption in told], [scene] * 4)
    assert shares == Accuracy(correct=0.25, things=0.5, relation=0.25)


def test_shares_need_a_scene_and_a_caption_each() -> None:
    with pytest.raises(ValueError, match="a fraction needs at least one"):
        Accuracy.of([], [])
    scene = shapes.place(
        [("red", "circle"), ("blue", "square")], "above", np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="zip"):
        Accuracy.of([], [scene])


def test_nearest_is_the_picture_itself_in_training(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    scenes = shapes.load_scenes(drawn, "train")
    told, train = loaded.words(loaded.train.captions), loaded.train
    copied = evaluate.nearest_captions(train, told, train, np.arange(51))
    assert [" ".join(c) for c in copied] == [grammar.captions(s)[0] for s in scenes]


def test_nearest_is_the_same_however_it_is_chunked(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    features = loaded.val.read_features(np.arange(12))
    train = loaded.train.read_features(np.arange(51))
    distances = ((features[:, None] - train) ** 2).sum(axis=2)
    for chunk in (7, 51, 4096):
        nearest = evaluate._nearest(loaded.train, np.arange(51), features, chunk)
        np.testing.assert_array_equal(nearest, distances.argmin(axis=1))


def test_the_demo_says_and_logs_how_many_are_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = shapes.make
    monkeypatch.setattr(shapes, "make", lambda f, seed: make(f, seed, (12, 4)))
    monkeypatch.setattr(commands, "DEMO", {**commands.DEMO, "epochs": 1})
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.minigrad, ["caption", "demo", "--run", "run"])
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "0.0% of 4 unseen scenes are captioned correctly" in words
    assert "the commonest training caption" in words
    last = RunFolder(tmp_path / "run").metrics()[-1]
    assert last["epoch"] == 1
    for who in ("captioner", "nearest", "commonest"):
        assert last[f"val_correct_{who}"] == 0
