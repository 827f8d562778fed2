"""Is a judge trained, resumed, scored, asked and told of, and each mistake named?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from apps import cli
from apps.cola import explain, train
from apps.cola.app import APP
from apps.cola.grams import GramReader
from apps.cola.reading import Reader, Reading, SentenceError
from apps.cola.sentences import Corpus, Sentence, format_tsv
from apps.cola.settings import RECIPES
from tests.apps.test_report import Page

SHORT = ["--max-train", "200", "--epochs", "2", "--device", "cpu"]
NARROW = ["--embed-dim", "8", "--num-heads", "2", "--hidden-dim", "8"]
SMALL = [*SHORT, *NARROW, "--layers", "2"]


def run(code: int, *arguments: object) -> Result:
    line = ["cola", *map(str, arguments)]
    result = CliRunner().invoke(cli.minigrad, line, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "judge"
    output = run(0, "train", "--run", path, *SMALL).output
    assert "validation" in output
    assert "sentences/s" in output
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus in CoLA's layout, with a few sentences that anybody can tell apart."""
    good = [Sentence(f"the dog saw {n} cats .", 1, "a") for n in range(20)]
    bad = [Sentence(f"dog the saw {n} cats .", 0, "b") for n in range(20)]
    for name in ("in_domain_train", "in_domain_dev", "out_of_domain_dev"):
        (tmp_path / f"{name}.tsv").write_text(format_tsv([*good, *bad]))
    return tmp_path


def test_a_run_is_a_folder_with_a_report(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoint.h5", "report.html"} <= names
    page = Page((trained / "report.html").read_text(encoding="utf-8"))
    assert "Scores on validation" in page.text("h2")
    assert {"bag of words", "always acceptable", "agreement"} <= {
        *page.text("th"),
        *page.text("td"),
    }
    assert len(page.all("img")) == 3 + 1  # the examples and the loss
    last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"val_accuracy", "val_matthews"} <= set(last)


def test_the_same_seed_gives_the_same_judge(trained: Path, tmp_path: Path) -> None:
    run(0, "train", "--run", tmp_path / "again", *SMALL)
    first, second = (
        APP.load(path, Console(quiet=True)) for path in (trained, tmp_path / "again")
    )
    texts = [sentence.text for sentence in first.corpus.validation[:20]]
    found = first.probabilities(texts)
    np.testing.assert_array_equal(found, second.probabilities(texts))


def test_evaluate_says_again_what_training_said(trained: Path) -> None:
    output = run(0, "evaluate", trained, "--device", "cpu").output
    last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"{last['val_accuracy']:.1%}" in output
    assert "agreement" in output[output.index("right, by source") :]
    assert "there is no split 'x'" in run(1, "evaluate", trained, "--split", "x").output


def test_all_other_splits_are_scored(folder: Path, tmp_path: Path) -> None:
    arguments = ["--data", folder, "--run", tmp_path / "r", *SHORT]
    output = run(0, "train", *arguments).output
    assert "validation" in output
    assert "out_of_domain_dev" in output
    assert "\n│ a " in output[output.index("right, by source") :]


def test_the_courses_model_is_trained_too(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "--recipe",
        "course",
        "--data",
        folder,
        "--run",
        tmp_path / "r",
        *SHORT,
        *NARROW,
    ]
    run(0, "train", *arguments)
    loaded = APP.load(tmp_path / "r", Console(quiet=True))
    assert loaded.settings.model == "course"
    assert loaded.reader.read("the dog")[1] == ["the", "dog", "CLS"]


# -- asking ------------------------------------------------------------------------


def test_a_verdict_is_told_and_drawn(trained: Path) -> None:
    output = run(
        0, "judge", "The keys near the lamp is dirty.", "--run", trained
    ).output
    assert "acceptable (probability of being acceptable 0." in output
    assert "attribution" in output
    assert "in layer 2" in output
    assert (trained / "verdict-1.png").read_bytes().startswith(b"\x89PNG")
    page = Page((trained / "verdict.html").read_text(encoding="utf-8"))
    assert "The keys near the lamp is dirty." in page.text("h2")


def test_pulls_are_the_gradient_of_the_odds(trained: Path) -> None:
    """By differences along the gradient itself, where the slope is its length."""
    judge = APP.load(trained, Console(quiet=True))
    verdict = explain.judge(judge, "The old teacher slept.")
    assert verdict.attribution.sum() == pytest.approx(1)
    assert len(verdict.attribution) == len(verdict.reading.tokens)
    ids = judge.reader.rows([verdict.reading])
    x = judge.model.embed(ids).detach().numpy()
    slopes = np.zeros_like(x[0])
    for place in np.ndindex(slopes.shape):
        moved = []
        for step in (0.01, -0.01):
            other = x.copy()
            other[0][place] += step
            moved.append(judge.model.judge(train.mg.Tensor(other), ids).item())
        slopes[place] = (moved[0] - moved[1]) / 0.02
    norms = np.linalg.norm(slopes, axis=-1)
    np.testing.assert_allclose(verdict.attribution, norms / norms.sum(), atol=0.01)


def test_a_judge_is_found_by_itself(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(1, "judge", "A dog slept.").output
    assert "there is no trained judge in runs/" in output
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "cola-1").symlink_to(trained)
    assert "attribution" in run(0, "judge", "The teacher slept.").output


# -- what is wrong -----------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_sentence_is_refused(text: str, trained: Path) -> None:
    output = run(1, "judge", text, "--run", trained).output
    assert "has no word, so there is nothing to judge. Give a sentence." in output
    assert output.count("Error: ") == 1


def test_only_unknown_words_are_told(trained: Path) -> None:
    output = run(0, "judge", "Colourless zebras gallop", "--run", trained).output
    assert "None of its words is known" in output
    assert "this is a guess" in output


def test_a_sentence_that_is_too_long_is_cut_and_that_is_told(trained: Path) -> None:
    output = run(0, "judge", "the " * 100 + ".", "--run", trained).output
    assert "its last 38 words were cut off" in output


def test_what_nobody_could_read_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word of 50,000 letters would take a gigabyte, a thousand positions more."""
    rng = np.random.default_rng(0)
    tokens = ["a" * 50_000, *(f"w{n}" for n in range(299))]
    reading = Reading([0] * 300, tokens, 300, 0, 0)
    attribution = rng.permutation(300) / 300
    attribution[0] = 2
    attention = [rng.random((2, 300, 300)), rng.random((2, 300, 300))]
    monkeypatch.setattr(explain, "MOST_HEADS", 3)
    verdict = explain.Verdict("", reading, 0.5, attention, attribution)
    outline = verdict.outline
    assert (
        "Of 300 positions, the 64 with the largest attribution are shown."
        in verdict.warnings
    )
    assert outline.tokens[0] == "a" * 23 + "…"
    kept = [0, *(int(token[1:]) + 1 for token in outline.tokens[1:])]
    assert kept == sorted(np.argsort(-attribution)[:64].tolist())
    np.testing.assert_array_equal(outline.attribution, attribution[kept])
    for shown, whole in zip(outline.attention, attention, strict=True):
        np.testing.assert_array_equal(shown, whole[:, kept][:, :, kept])
    figure = explain.draw(verdict)
    assert len(figure.axes) == 3 + 1
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels == outline.tokens


def test_verdicts_that_are_all_alike_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant has Matthews correlation 0, whatever its loss."""
    monkeypatch.setattr(train.Trained, "probabilities", lambda _, t: np.ones(len(t)))
    output = run(0, "train", "--run", tmp_path / "r", *SMALL).output
    assert "It judges all sentences alike, and so has learned nothing." in output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\t1\tno tab for the mark", "line 2 has 3 columns, but must have 4"),
        ("a\t2\t\tA dog.", "line 2 has the label '2', but a label is 1"),
        ("a\t1\t\t ", "line 2 has no sentence"),
    ],
)
def test_a_malformed_row_is_named_before_any_work(
    line: str, message: str, folder: Path, tmp_path: Path
) -> None:
    file = folder / "in_domain_train.tsv"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([rows[0], line, *rows[1:]]) + "\n")
    output = run(1, "train", "--data", folder, "--run", tmp_path / "r", *SHORT).output
    assert "in_domain_train.tsv" in output
    assert message in " ".join(output.split())
    assert output.count("Error: ") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--embed-dim", 9, "--num-heads", 2], "embed_dim 9 does not divide into 2"),
        (["--epochs", 0], "'--epochs': 0 is not in the range"),
        (["--dropout", 1], "'--dropout': 1.0 is not in the range"),
        (["--recipe", "course", "--layers", 2], "--layers has no effect with --recipe"),
        (["--recipe", "cola", "--dropout", 0.1], "--dropout has no effect with"),
        (["--lr", "nan"], "'nan' is not a number"),
        (["--data", "/nowhere"], "/nowhere is no folder and no zip"),
        (["--resume", "/nowhere", "--lr", 1], "--lr has no effect with --resume"),
        (["--resume", "/nowhere"], "is not the folder of a run"),
    ],
)
def test_wrong_options_are_one_error(
    options: list[object], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        cli.minigrad, ["cola", "train", *map(str, options)], env={"COLUMNS": "200"}
    )
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert result.output.count("Error: ") == 1


def test_reading_counts_what_it_loses() -> None:
    sentences = [Sentence("a dog saw a cat", 1, "")]
    reader = Reader.of(sentences, 1, 4)
    reading = reader.read("a zebra saw a cat")
    assert reading.tokens == ["<CLS>", "a", "zebra", "saw"]
    assert (reading.cut, reading.unknown) == (2, 1)
    rows = reader.rows([reading, reader.read("dog")])
    assert rows.shape == (2, 4)
    assert rows[1, 2:].tolist() == [reader.pad] * 2
    with pytest.raises(SentenceError, match="has no word"):
        reader.read("\n")


# -- runs of words -----------------------------------------------------------------


@pytest.fixture(scope="module")
def grams(tmp_path_factory: pytest.TempPathFactory) -> train.Trained:
    """A judge of runs of words, trained on the small grammar's sentences."""
    path = tmp_path_factory.mktemp("runs") / "grams"
    run(0, "train", "--recipe", "cola", "--run", path, *SHORT, "--epochs", 8)
    return APP.load(path, Console(quiet=True))


def test_runs_learn_what_words_cannot_tell(grams: train.Trained) -> None:
    """A bag of words is right in half of the cases."""
    train = grams.corpus.train
    likely = grams.probabilities([sentence.text for sentence in train])
    right = (likely >= 0.5) == [bool(sentence.label) for sentence in train]
    assert right.mean() > 0.8


def test_the_odds_are_the_sum_of_the_contributions(grams: train.Trained) -> None:
    text = grams.corpus.train[0].text
    reading = grams.reader.read(text)
    weights = grams.model.weights.numpy()[reading.ids, 0]
    odds = weights.sum() / np.sqrt(len(weights)) + grams.model.b.item()
    expected = 1 / (1 + np.exp(-odds))
    assert grams.probabilities([text])[0] == pytest.approx(expected, abs=1e-6)
    verdict = explain.judge(grams, text)
    shares = np.abs(weights) / np.abs(weights).sum()
    np.testing.assert_allclose(verdict.attribution, shares, atol=1e-6)
    assert verdict.attention == []


def test_other_sentences_beside_it_change_nothing(grams: train.Trained) -> None:
    texts = [sentence.text for sentence in grams.corpus.validation[:9]]
    alone = [grams.probabilities([text])[0] for text in texts]
    np.testing.assert_allclose(grams.probabilities(texts), alone, atol=1e-6)


def test_rare_words_are_known_by_their_endings() -> None:
    often = [Sentence("the dog was barking", 1, "")] * 20
    rare = [
        Sentence(f"the {noun}ing", 1, "") for noun in ("cat was purr", "cow was moo")
    ]
    reader = GramReader.of([*often, *rare])
    tokens = reader.read("the mouse was squeaking").tokens
    assert "= the mouse" not in tokens
    assert "~ was -ing" in tokens
    assert "the _ was" in tokens
    assert reader.read("the mouse was squeaking").unknown == 2


def test_runs_are_numbered_as_first_seen() -> None:
    """Not as a set has them, whose order is another in every process."""
    reader = GramReader.of([Sentence("the dog slept", 1, "")] * 2)
    expected = ["<PAD>", "the", "dog", "slept", "= <s> the", "= the dog"]
    assert list(reader.ids)[:6] == expected


def together(count: int, settings: train.Settings, epoch: int) -> list[np.ndarray]:
    """The minibatches of so many sentences."""
    corpus = Corpus("", (Sentence("a", 1, ""),) * count, ())
    reader = Reader.of(corpus.train, 1, 4)
    return train.Trained(settings, corpus, reader, None).batches(epoch)


def test_neighbours_stay_together() -> None:
    batches = together(101, train.Settings(neighbours=2, batch=8), epoch=3)
    rows = np.concatenate(batches)
    assert sorted(rows.tolist()) == list(range(101))
    for batch in batches:
        pairs = {row // 2 for row in batch.tolist()}
        assert len(batch) == 2 * len(pairs) - (100 in batch)
        assert len(batch) <= 8


# -- the course's arrays -----------------------------------------------------------

ARRAYS = Path(__file__).resolve().parents[3] / "shared/data/cola_7643"


@pytest.mark.skipif(not ARRAYS.exists(), reason=f"{ARRAYS} is not there")
def test_the_courses_arrays_are_read_as_they_are() -> None:
    settings = train.Settings(**{**RECIPES["course"], "data": str(ARRAYS)})
    corpus = train.open_corpus(settings)
    reader = Reader.of_the_course(corpus)
    for split, sentences in (("train", corpus.train), ("val", corpus.validation)):
        rows = reader.rows([reader.read(sentence.text) for sentence in sentences])
        np.testing.assert_array_equal(rows, np.load(ARRAYS / f"{split}_inxs.npy"))
        labels = np.load(ARRAYS / f"{split}_labels.npy").tolist()
        assert [sentence.label for sentence in sentences] == labels


def test_batches_of_runs_have_few_lengths(grams: train.Trained) -> None:
    readings = grams.readings[:60]
    rows = [grams.reader.rows([reading]) for reading in readings]
    assert {row.shape[1] % 8 for row in rows} == {0}
    lengths = {len(reading.ids) for reading in readings}
    assert len({row.shape[1] for row in rows}) < len(lengths)
