"""What came of training a captioner, or what is in a set, as a page to read?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps import report as pages
from apps.captioning import look
from apps.captioning.data import UNITS
from apps.captioning.decode import Decoding
from apps.captioning.layout import UNKNOWN
from apps.report import Command, Gallery, Report, Section, State, Table, Texts

if TYPE_CHECKING:
    from apps.captioning.evaluate import Scores
    from apps.captioning.train import Trained
    from apps.run_folder import RunFolder

REPORT_FILE = "report.html"

# Whose captions of drawn scenes are counted -> how a table calls them.
SPEAKERS = {
    "captioner": "the captioner",
    "nearest": "the nearest training picture's caption",
    "commonest": "the commonest training caption",
}

MEANINGS = {
    "data": "the folder with pictures' features and captions",
    "cell": "the recurrent layer that reads and says the words",
    "wordvec_dim": "numbers that stand for a word, or a letter",
    "hidden_dim": "numbers that a network remembers from one to the next",
    "features": "a picture's short features (pca), or the full ones",
    "tokens": "what is read and said one at a time: words, or letters (char)",
    "max_train": "captions to learn from; None for all",
    "members": "networks that learn side by side and decide together",
    "dropout": "share of word vectors and outputs left out at random in training",
    "lr": "how far one step moves the weights at first; a cosine lowers it to 0",
    "batch": "captions that one step learns from",
    "epochs": "how often training goes through all captions",
    "seed": "begins the random numbers: the same seed, the same result",
}


def write(
    run: RunFolder,
    state: State,
    *,
    trained: Trained | None = None,
    cards: Sequence[look.Card] = (),
    scores: Scores | None = None,
) -> Path:
    """Write `report.html`, and its plots as PNG, into a run's folder; give its path.

    While training goes on, state is "training" and the page looks for news by itself.
    What is not given is left out, so that the settings and the losses can be shown
    after every epoch, and all the rest at the end.
    """
    config, metrics = run.config(), run.metrics()
    decoding = Decoding(**config.pop("decoding"))
    sections = [
        _pictures(cards),
        _shares(scores),
        _scores(scores),
        _decoding(decoding) if cards or scores else None,
        pages.learning(metrics, config["epochs"], "the true captions"),
        pages.settings(config, MEANINGS, _sizes(trained) if trained else ""),
        _commands(run.path, state),
    ]
    report = Report(
        title=f"A captioner for {Path(config['data']).name}",
        lead=f"A recurrent network ({config['cell'].upper()}) that learns to describe "
        f"the pictures of {config['data']}.",
        status=pages.status(state, metrics, config["epochs"]),
        facts=_facts(metrics, scores, UNITS[config["tokens"]]),
        sections=[section for section in sections if section is not None],
        refresh=pages.REFRESH if state == "training" else None,
    )
    path = run.path / REPORT_FILE
    with run.saving(path):
        pages.write(report, path)
    return path


def write_cards(cards: Sequence[look.Card], folder: Path, split: str, to: Path) -> None:
    """Write a page of a set's pictures with their captions."""
    heading = f"{len(cards)} pictures of the {_name(split)} split"
    section = Section(heading, _unknown(cards), [Gallery([*map(_card, cards)])])
    report = Report(
        title=f"Pictures of {folder.resolve().name}",
        lead=f"From {folder.resolve()}, chosen at random.",
        sections=[section],
    )
    pages.write(report, to)


def _name(split: str) -> str:
    return {"train": "training", "val": "validation"}[split]


def _facts(
    metrics: Sequence[Mapping[str, Any]],
    scores: Scores | None,
    unit: str,
) -> list[tuple[str, str]]:
    facts = []
    if scores and scores.shares:
        correct = f"{scores.shares['captioner'].correct:.1%}"
        facts.append(("of unseen scenes captioned correctly", correct))
    if scores:
        facts.append(("unigram BLEU on validation", f"{scores.captioner.bleu:.3f}"))
    return facts + pages.training_facts(metrics, unit)


def _pictures(cards: Sequence[look.Card]) -> Section | None:
    if not cards:
        return None
    judged = any(card.verdict for card in cards)
    text = (
        "Validation pictures, which training never shows, chosen at random. First what "
        "the captioner says, then what people said."
    )
    if judged:
        text = (
            "Validation scenes, which training never shows, chosen at random. First "
            "what the captioner says, and whether it is true; then the five captions "
            "that the scene was drawn with."
        )
    text = f"{text} {_unknown(cards)}".strip()
    return Section("What it says", text, [Gallery([*map(_card, cards)])])


def _unknown(cards: Sequence[look.Card]) -> str:
    """Say what `<UNK>` is, where it can be seen."""
    if any(UNKNOWN in caption for card in cards for caption in card.captions):
        return f"{UNKNOWN} stands for a word that the vocabulary lacks."
    return ""


def _card(card: look.Card) -> pages.Card:
    texts = [Texts("captions", card.captions)]
    if card.generated is not None:
        texts = [_generated(card), Texts("true captions", card.captions)]
    return pages.Card(
        name=card.name,
        picture=look.read_picture(card.path),
        alt=f"{card.name}: {card.captions[0]}",
        texts=texts,
        address=card.url,
        placeholder=f"No picture: {card.name} is missing or cannot be read.",
    )


def _generated(card: look.Card) -> Texts:
    return Texts(
        "generated",
        [card.said],
        strong=True,
        verdict=card.judgement,
        good=card.verdict is not None and card.verdict.correct,
    )


def _shares(scores: Scores | None) -> Section | None:
    if scores is None or not scores.shares:
        return None
    text = (
        f"{scores.shares['captioner'].correct:.1%} of {scores.pictures:,} unseen "
        "scenes are captioned correctly: every thing's colour and shape, and one true "
        "relation. Training shows none of the combinations that they tell of, so a "
        "captioner that only repeats what it has seen cannot be right."
    )
    rows = [
        (SPEAKERS[who], *(f"{s:.1%}" for s in (of.correct, of.things, of.relation)))
        for who, of in scores.shares.items()
    ]
    heading = ("who speaks", "correct", "all named", "all true")
    return Section("Is it true?", text, [Table(heading, rows)])


def _scores(scores: Scores | None) -> Section | None:
    if scores is None:
        return None
    both = (scores.captioner, scores.constant)
    ngrams = zip(*(of.corpus for of in both), strict=True)
    rows = [
        ("unigram BLEU", *(f"{of.bleu:.3f}" for of in both)),
        *((f"BLEU-{n}", *(f"{b:.3f}" for b in of)) for n, of in enumerate(ngrams, 1)),
        ("word for word", *(f"{of.exact:.1%}" for of in both)),
        ("invented words", *(f"{of.invented:.1%}" for of in both)),
    ]
    notes = [
        "The share of a caption's words that a true caption has too, less if it is the "
        "shorter one; the mean over all true captions, one at a time.",
        "The same, but against all true captions of a picture at once.",
        *(
            f"Runs of up to {n} words in common."
            for n in range(2, len(scores.captioner.corpus) + 1)
        ),
        "The share of captions that are exactly one of their picture's true ones.",
        "The share of the words said that no training caption has.",
    ]
    heading = ("score", "captioner", "one caption for all")
    return Section(
        "Scores on validation",
        _yardstick(scores),
        [Table(heading, rows, notes)],
    )


def _yardstick(scores: Scores) -> str:
    """Say what a good score is."""
    known = (
        "1 would be perfect. What can be had without looking: of the training captions "
        "tried, the one most like the others, said of every picture "
        f"(“{scores.safest}”). "
    )
    if scores.shares:
        return known + (
            "Every scene has captions in five wordings, so even a true caption shares "
            "few words with some of them."
        )
    return known + (
        "Two people seldom choose the same words: on photos, people's own captions "
        "reach a unigram BLEU of only about 0.35 against each other."
    )


def _decoding(how: Decoding) -> Section:
    return Section("How words are chosen", describe_decoding(how))


def describe_decoding(how: Decoding) -> str:
    """Say how words are chosen."""
    if how.how == "greedy":
        told = "Greedily: each time the likeliest next word."
    elif how.how == "beam":
        told = (
            f"By beam search: of all captions begun, the {how.beam_size} likeliest are "
            f"followed at once (length penalty {how.length_penalty:g})."
        )
    elif how.how == "mbr":
        told = (
            f"By minimum Bayes risk: {how.draws} captions are drawn (temperature "
            f"{how.temperature:g}, seed {how.seed}), and the one that agrees best with "
            "the others is said."
        )
    else:
        among = f"{how.top_k} likeliest" if how.top_k else "all"
        told = (
            f"By drawing the next word from {among} words (temperature "
            f"{how.temperature:g}, seed {how.seed})."
        )
    if how.allow_unknown:
        return f"{told} It may choose <UNK>, which is then left out."
    return told


def _sizes(trained: Trained) -> str:
    """Say how large the data and the network are."""
    data = trained.data
    splits = ", ".join(
        f"{len(split.captions):,} captions of {len(split.features):,} pictures for "
        f"{_name(split.name)}"
        for split in (data.train, data.val)
    )
    weights = sum(parameter.size for parameter in trained.model.parameters())
    return (
        f"{splits}; a vocabulary of {len(data.vocabulary):,} {UNITS[data.tokens]}; "
        f"a network of {weights:,} weights."
    )


def _commands(path: Path, state: State) -> Section:
    run = shlex.quote(str(path))
    sample = Command(f"minigrad caption sample {run}")
    if state == "finished":
        evaluate = Command(f"minigrad caption evaluate {run}")
        return Section(
            "More", "See other pictures, or score again:", [sample, evaluate]
        )
    resume = Command(f"minigrad caption train --resume {run}")
    text = "Go on if training has stopped, or see what it says so far:"
    return Section("More", text, [resume, sample])
