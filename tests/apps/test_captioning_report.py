"""Does a run's report tell how training stands, what came of it and what is lost?"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import run_report
from apps.captioning import evaluate, look, report, sample, train
from apps.captioning.data import CaptionData, load_data
from apps.captioning.decode import Decoding
from apps.captioning.evaluate import Likeness, Scores
from apps.captioning.settings import Settings
from apps.captioning.train import Trained
from apps.run_folder import RunFolder
from tests.apps.test_report import Page, read_embedded

CONFIG = {
    "data": "some/where",
    "cell": "gru",
    "tokens": "char",
    "epochs": 3,
    "odd": "<b>",
    "decoding": asdict(Decoding()),
}


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def refreshes(page: Page) -> bool:
    return any(meta.get("http-equiv") == "refresh" for meta in page.all("meta"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "a run", CONFIG)


@pytest.fixture(scope="module")
def captioner(drawn: Path) -> Trained:
    """One that has learned nothing: what it says is as good as any."""
    settings = train.Settings(str(drawn), wordvec_dim=8, hidden_dim=16)
    return train.build(settings)[0]


def test_a_report_grows_with_every_epoch(run: RunFolder) -> None:
    page = read(report.write(run, "training"))
    assert refreshes(page)
    assert "training: 0 of 3 epochs are done" in page.text("p")[1]
    assert page.all("img") == []
    for epoch in (1, 2):
        run.log(epoch=epoch, step=epoch, loss=3.0 / epoch, per_second=1234)
        page = read(report.write(run, "training"))
        assert refreshes(page)
        assert f"training: {epoch} of 3 epochs are done" in page.text("p")[1]
        assert len(page.all("img")) == 1
    assert page.text("dd") == ["1.5", "1,234"]
    assert page.text("dt")[1] == "letters a second in training"
    assert (run.path / "loss.png").is_file()
    headings = page.text("h2")
    assert headings == ["How it learned", "Settings", "More"]
    assert {"odd", "<b>"} <= {*page.text("th"), *page.text("td")}
    assert f"minigrad caption train --resume '{run.path}'" in page.text("code")


def test_a_stopped_run_says_so_and_waits_for_nothing(run: RunFolder) -> None:
    run.log(epoch=1, step=1, loss=2.0)
    page = read(report.write(run, "stopped"))
    assert not refreshes(page)
    assert "stopped on " in page.text("p")[1]
    assert ": 1 of 3 epochs are done" in page.text("p")[1]


def test_a_finished_run_is_told_in_full(run: RunFolder, captioner: Trained) -> None:
    run.log(epoch=3, step=9, loss=2.0, per_second=500)
    val = captioner.data.val
    cards = sample.draw_samples(captioner, val, 5, seed=0)
    scores = evaluate.evaluate(captioner, val)
    shares = scores.accuracy
    path = report.write(run, "finished", trained=captioner, cards=cards, scores=scores)
    page = read(path)
    assert not refreshes(page)
    assert page.text("h2") == [
        "What it says",
        "Is it true?",
        "Scores on validation",
        "How it learned",
        "Settings",
        "More",
    ]
    numbers = page.text("td")
    for of in (scores.captioner, scores.constant):
        for number in (of.bleu, *of.corpus):
            assert f"{number:.3f}" in numbers
        assert f"{of.exact:.1%}" in numbers
    assert scores.safest in " ".join(page.text("p"))
    assert f"{shares['nearest'].things:.1%}" in numbers
    text = " ".join(page.text("p"))
    assert f"{shares['captioner'].correct:.1%} of 12 unseen scenes" in text
    assert "255 captions of 51 pictures for training" in text
    assert "0.35" not in text, "that is for photos"
    assert len(page.all("img")) == 5 + 1
    assert set(page.text("th")) >= {"odd", *report.SPEAKERS.values()}
    assert f"minigrad caption evaluate '{run.path}'" in page.text("code")


def test_scores_of_photos_are_held_against_people(run: RunFolder) -> None:
    likeness = Likeness(0.2, 0.03, 0.0, (0.5, 0.3, 0.2, 0.1))
    scores = Scores(9, likeness, likeness, "a dog")
    page = read(report.write(run, "finished", scores=scores))
    assert "only about 0.35 against each other" in " ".join(page.text("p"))
    assert "unigram BLEU on validation" in page.text("dt")


def test_what_was_said_is_held_against_the_scene(captioner: Trained) -> None:
    val, folder = captioner.data.val, captioner.data.folder
    right, wrong = look.choose(captioner.data, val, 2, seed=0)
    opposites = {"left": "right", "right": "left", "above": "below", "below": "above"}
    turned = " ".join(opposites.get(w, w) for w in wrong.captions[0].split())
    cards = [
        replace(right, generated=right.captions[1]),
        replace(wrong, generated=turned),
        replace(wrong, generated=""),
    ]
    judged = sample.judge(cards, folder, val)
    assert [card.judgement for card in judged] == [
        "correct",
        "wrong place or size",
        "wrong",
    ]
    assert judged[2].said == "(not a word)"


@pytest.mark.parametrize("scenes", ["", "[[{}]]"])
def test_only_drawn_pictures_are_judged(
    copy: Path, captioner: Trained, scenes: str
) -> None:
    (copy / "val2014_scenes.json").write_text(scenes)
    moved = replace(captioner, data=load_data(copy))
    cards = sample.draw_samples(moved, moved.data.val, 3, seed=0)
    assert [card.verdict for card in cards] == [None] * 3
    assert all(card.generated is not None for card in cards)


def test_samples_are_those_that_show_would_choose(captioner: Trained) -> None:
    val = captioner.data.val
    cards = sample.draw_samples(captioner, val, 4, seed=7)
    chosen = look.choose(captioner.data, val, 4, seed=7)
    assert [(c.row, c.captions) for c in cards] == [(c.row, c.captions) for c in chosen]
    said = sample.describe(captioner, val, np.array([card.row for card in cards]))
    assert [card.generated for card in cards] == [" ".join(words) for words in said]


def test_the_page_shows_the_verdict(run: RunFolder, captioner: Trained) -> None:
    val, folder = captioner.data.val, captioner.data.folder
    cards = look.choose(captioner.data, val, 2, seed=0)
    true = [replace(card, generated=card.captions[0]) for card in cards]
    page = read(report.write(run, "finished", cards=sample.judge(true, folder, val)))
    assert page.text("span") == ["✓ correct"] * 2
    strong = [cell for cell in page.all("dd") if cell.get("class") == "strong"]
    assert len(strong) == 2


def test_generated_and_true_are_told_apart_in_words(captioner: Trained) -> None:
    val, folder = captioner.data.val, captioner.data.folder
    (card,) = look.choose(captioner.data, val, 1, seed=0)
    assert look.caption_lines(card)[0][0].startswith(f"· {card.captions[0][:20]}")
    said = [replace(card, generated=card.captions[0])]
    (judged,) = sample.judge(said, folder, val)
    lines = look.caption_lines(judged)
    assert lines[0][0].startswith("generated: ")
    assert ("✓ correct", "bold") in lines
    true = lines.index(("true:", "normal"))
    assert all(weight == "bold" for _, weight in lines[:true])
    assert lines[true + 1][0].startswith("· ")
    wrong = replace(judged, generated="red red", verdict=None)
    (wrong,) = sample.judge([wrong], folder, val)
    assert ("✗ wrong", "bold") in look.caption_lines(wrong)


def hidden(data: CaptionData, row: int) -> Path:
    """Take a picture away."""
    path = look.picture_path(data.folder, data.val, row)
    assert path is not None
    path.unlink()
    return path


def test_a_missing_picture_is_told(run: RunFolder, copy: Path) -> None:
    loaded = load_data(copy)
    cards = look.choose(loaded, loaded.val, 12, seed=0)
    lost = hidden(loaded, 4)
    page = read(report.write(run, "finished", cards=cards))
    assert len(page.all("img")) == 11
    expected = f"No picture: {lost.name} is missing or cannot be read."
    assert expected in page.text("div")


def test_the_set_as_a_page(copy: Path, tmp_path: Path) -> None:
    urls = [f"https://pictures.example/{row}" for row in range(12)]
    (copy / "val2014_urls.txt").write_text("\n".join(urls) + "\n")
    loaded = load_data(copy)
    cards = look.choose(loaded, loaded.val, 3, seed=0)
    to = tmp_path / "set.html"
    report.write_cards(cards, copy, "val", to)
    page = read(to)
    assert page.text("h2") == ["3 pictures of the validation split"]
    assert [link["href"] for link in page.all("a")] == [card.url for card in cards]
    assert page.text("dd") == [text for card in cards for text in card.captions]
    for card, image in zip(cards, page.all("img"), strict=True):
        assert card.path is not None
        with Image.open(card.path) as picture:
            expected = np.asarray(picture.convert("RGB"))
        assert np.array_equal(np.asarray(read_embedded(image["src"])), expected)


@pytest.mark.parametrize(("word", "told"), [("<UNK>", True), ("word", False)])
def test_unknown_words_are_explained_where_they_are(
    run: RunFolder, word: str, told: bool
) -> None:
    cards = [look.Card(0, None, "", (f"a {word}",), generated="a")]
    page = read(report.write(run, "finished", cards=cards))
    assert ("<UNK> stands for a word" in " ".join(page.text("p"))) == told
    assert f"a {word}" in page.text("dd")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (Decoding(), {}),
        (Decoding("beam", beam_size=7), {"beam_size": "7", "length_penalty": "0.0"}),
        (Decoding("sample", top_k=20), {"top_k": "20", "temperature": "1.0"}),
        (Decoding("mbr", draws=30, seed=3), {"draws": "30", "seed": "3"}),
        (Decoding(allow_unknown=True), {"allow_unknown": "True"}),
    ],
)
def test_how_words_are_chosen_is_told(
    run: RunFolder, how: Decoding, told: dict[str, str]
) -> None:
    """What has an effect, and nothing else."""
    config = run.config() | {"decoding": asdict(how)}
    run.config_path.write_text(json.dumps(config))
    page = read(report.write(run, "finished"))
    names = page.text("th")
    assert "how" in names
    assert ("beam_size" in names) == (how.how == "beam")
    assert ("draws" in names) == (how.how == "mbr")
    assert ("temperature" in names) == (how.how in ("sample", "mbr"))
    for name, value in told.items():
        assert name in names
        assert value in page.text("td")


def test_a_setting_without_a_number_is_told_as_in_help() -> None:
    config = {"max_train": None, "epochs": 3}
    told = {name: value for name, value, _ in run_report._meant(config, Settings)}
    assert told == {"max_train": "all", "epochs": "3"}
