"""Is every picture's caption compared with its own true captions, as was asked for?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from apps import cli
from apps.captioning import data, evaluate, layout, train
from apps.captioning.decode import Decoding
from apps.captioning.metrics import corpus_bleu, mean_bleu
from apps.captioning.model import Captioner
from apps.run_folder import RunFolder


def test_saying_true_captions_is_exact(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    pictures = range(len(loaded.val.features))
    true = [loaded.words(loaded.val.references(p))[2] for p in pictures]
    scores = evaluate.score(loaded, loaded.val, dict(enumerate(true)))
    assert scores.captioner.exact == 1
    assert scores.captioner.corpus == pytest.approx((1, 1, 1, 1))
    assert scores.captioner.bleu > scores.constant.bleu
    shuffled = dict(enumerate([*true[6:], *true[:6]]))
    worse = evaluate.score(loaded, loaded.val, shuffled)
    assert worse.captioner.exact < 0.5
    assert worse.captioner.bleu < scores.captioner.bleu
    assert worse.captioner.corpus[3] < 0.9


def test_one_caption_for_all_is_held_against_it(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    safest = evaluate.safest_caption(loaded.words(loaded.train.captions))
    every_time = dict.fromkeys(range(len(loaded.val.features)), safest)
    scores = evaluate.score(loaded, loaded.val, every_time)
    assert scores.captioner == scores.constant
    assert scores.safest == " ".join(safest)


def test_no_training_caption_is_safer_than_the_safest(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    captions = loaded.words(loaded.train.captions)
    assert len(captions) < 500, "so all are tried"
    safest = evaluate.safest_caption(captions)

    def mean(caption: list[str]) -> float:
        return mean_bleu(captions, [caption] * len(captions))

    assert mean(safest) == pytest.approx(max(map(mean, captions)))
    assert mean(safest) > mean(evaluate.commonest_caption(captions))


def test_corpus_bleu_is_against_all_captions_of_the_picture(drawn: Path) -> None:
    loaded = data.load_data(drawn)
    pictures = range(len(loaded.val.features))
    references = [loaded.words(loaded.val.references(p)) for p in pictures]
    said = [true[0][::-1] for true in references]
    scores = evaluate.score(loaded, loaded.val, dict(enumerate(said)))
    assert scores.captioner.corpus == corpus_bleu(references, said)
    assert scores.captioner.corpus[3] < scores.captioner.corpus[0]


@pytest.fixture(scope="module")
def run_folder(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "trained"
    sizes = ["--wordvec-dim", "8", "--hidden-dim", "16", "--epochs", "1"]
    command(0, "train", "--data", drawn, "--run", path, *sizes)
    return path


def command(code: int, *arguments: object) -> str:
    line = ["caption", *map(str, arguments)]
    result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_pictures_that_nobody_has_described_do_not_count(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, _ = train.build(train.Settings(str(drawn), hidden_dim=8))
    val = trained.data.val
    known = val.image_indices % 3 == 1
    part = dataclasses.replace(
        val, captions=val.captions[known], image_indices=val.image_indices[known]
    )
    asked = []

    def describe(of: train.Trained, _: Any, pictures: np.ndarray) -> list[list[str]]:
        asked.append((pictures.tolist(), of.settings.decoding))
        return [trained.data.words(val.references(p))[1] for p in pictures]

    monkeypatch.setattr(evaluate, "describe", describe)
    how = Decoding("beam")
    settings = dataclasses.replace(trained.settings, decoding=how)
    beaming = dataclasses.replace(trained, settings=settings)
    assert evaluate.evaluate(beaming, part).captioner.exact == 1
    assert asked == [([1, 4, 7, 10], how)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Decoding()),
        (["--seed", 4], Decoding(seed=4)),
        (["--how", "beam"], Decoding("beam")),
        (["--beam-size", 3], Decoding("beam", beam_size=3)),
        (["--temperature", 2, "--seed", 1], Decoding("sample", temperature=2, seed=1)),
        (
            ["--how", "beam", "--beam-size", 3, "--length-penalty", 0.7],
            Decoding("beam", beam_size=3, length_penalty=0.7),
        ),
        (
            ["--how", "sample", "--temperature", 0.5, "--top-k", 4, "--seed", 2],
            Decoding("sample", temperature=0.5, top_k=4, seed=2),
        ),
        (["--allow-unknown"], Decoding(allow_unknown=True)),
    ],
)
@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_the_options_reach_the_decoder(
    name: str,
    options: list[object],
    expected: Decoding,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []
    choose = Captioner.sample

    def note(*arguments: Any) -> np.ndarray:
        used.append(arguments[3])
        return choose(*arguments)

    monkeypatch.setattr(Captioner, "sample", note)
    output = command(0, name, run_folder, "--device", "cpu", *options)
    assert {*used} == {expected}
    assert ("BLEU-1 " in output) == (name == "evaluate")


def test_a_seed_decides_what_is_drawn(run_folder: Path) -> None:
    drawing = ("evaluate", run_folder, "--how", "sample")
    outputs = [command(0, *drawing, "--seed", seed) for seed in (1, 1, 2)]
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--how", "beam", "--beam-size", 0], "'--beam-size': 0 is not in the range"),
        (["--how", "sample", "--temperature", 0], "'--temperature': 0.0 is not in"),
        (["--how", "sample", "--temperature", -1], "'--temperature': -1.0 is not in"),
        (["--how", "sample", "--temperature", "nan"], "'nan' is not a number"),
        (["--how", "sample", "--top-k", 0], "'--top-k': 0 is not in the range"),
        (["--how", "best"], "'best' is not one of"),
        (["--seed", -1], "'--seed': -1 is not in the range"),
        (["--beam-size", 3, "--how", "greedy"], "--beam-size has no effect with --how"),
        (
            ["--beam-size", 3, "--draws", 9],
            "--draws has no effect with --how beam. Leave",
        ),
        (["--draws", 1], "'--draws': 1 is not in the range"),
        (["--how", "beam", "--top-k", 3], "--top-k has no effect with --how beam"),
    ],
)
@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_wrong_options_are_one_error_before_any_work(
    name: str, options: list[object], message: str, tmp_path: Path
) -> None:
    output = command(2, name, tmp_path / "nowhere", "--device", "cpu", *options)
    assert message in output
    assert output.count("Error: ") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_more_words_than_the_vocabulary_has(
    name: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "sample", None)
    count = len(layout.load_vocabulary(run_folder_data(run_folder)))
    options = ["--how", "sample", "--top-k", count + 1]
    output = command(2, name, run_folder, *options)
    assert f"top_k is {count + 1}, but must be at most {count}, the words" in output
    assert output.count("Error: ") == 1


def run_folder_data(run_folder: Path) -> Path:
    """The vocabulary that a run learned from."""
    config = RunFolder(run_folder).config()
    return Path(config["data"]) / layout.VOCABULARY_FILE
