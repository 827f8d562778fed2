"""Reports of the captioner: on training, and on what is in a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apps import report as pages
from apps import run_report
from apps.captioning.data import UNITS
from apps.captioning.evaluate import Scores
from apps.captioning.layout import UNKNOWN
from apps.captioning.look import Card
from apps.captioning.settings import Settings
from apps.captioning.train import Trained
from apps.report import Gallery, Report, Section
from apps.run_folder import RunFolder
from apps.run_report import State, Story
from apps.tables import Table

# Names in tables of those whose captions of drawn scenes are judged.
SPEAKERS = {
    "captioner": "the captioner",
    "nearest": "the nearest training picture's caption",
    "commonest": "the commonest training caption",
}
SPLITS = {"train": "training", "val": "validation"}


def write(
    run: RunFolder,
    state: State,
    *,
    trained: Trained | None = None,
    cards: Sequence[Card] = (),
    scores: Scores | None = None,
) -> Path:
    """Write a run's `report.html`, without what is not given yet; give its path."""
    config = run.config()
    results = [_pictures(cards)] if cards else []
    if scores and scores.accuracy:
        results.append(Section("Is it true?", told_correct(scores), [correct(scores)]))
    if scores:
        text = _yardstick(scores)
        results.append(Section("Scores on validation", text, [scored(scores)]))
    story = Story(
        app="caption",
        use="sample {}",
        title=f"A captioner for {Path(config['data']).name}",
        lead=f"A recurrent network ({config['cell'].upper()}) that learns to describe "
        f"the pictures of {config['data']}.",
        unit=UNITS[config["tokens"]],
        targets="the true captions",
        settings=Settings,
        facts=_facts(scores) if scores else [],
        results=results,
        sizes=_sizes(trained) if trained else "",
    )
    return run_report.write(run, state, story)


def write_cards(cards: Sequence[Card], folder: Path, split: str, to: Path) -> None:
    """Write a page of a set's pictures with their captions."""
    heading = f"{len(cards)} pictures of the {SPLITS[split]} split"
    report = Report(
        title=f"Pictures of {folder.resolve().name}",
        lead=f"From {folder.resolve()}, chosen at random.",
        sections=[Section(heading, _unknown(cards), [_gallery(cards)])],
    )
    pages.write(report, to)


def correct(scores: Scores) -> Table:
    """How many drawn scenes are captioned correctly, and by whom."""
    rows = [
        (SPEAKERS[who], *(f"{s:.1%}" for s in (of.correct, of.things, of.relation)))
        for who, of in scores.accuracy.items()
    ]
    return Table(("who speaks", "correct", "all named", "all true"), rows)


def told_correct(scores: Scores, kind: str = "unseen") -> str:
    """Say how many drawn scenes the captioner describes correctly."""
    text = (
        f"{scores.accuracy['captioner'].correct:.1%} of {scores.pictures:,} {kind} "
        "scenes are captioned correctly: every thing's colour and shape, and one true "
        "relation."
    )
    if kind != "unseen":
        return text
    return (
        f"{text} Training shows none of the combinations that they tell of, so a "
        "captioner that only repeats what it has seen cannot be right."
    )


def _facts(scores: Scores) -> list[tuple[str, str]]:
    bleu = ("unigram BLEU on validation", f"{scores.captioner.bleu:.3f}")
    if not scores.accuracy:
        return [bleu]
    right = f"{scores.accuracy['captioner'].correct:.1%}"
    return [("of unseen scenes captioned correctly", right), bleu]


def _pictures(cards: Sequence[Card]) -> Section:
    things, then = "pictures", "then what people said."
    if any(card.verdict for card in cards):
        things = "scenes"
        then = "and whether it is true; then the five captions of the drawn scene."
    text = (
        f"Validation {things}, which training never shows, chosen at random. First "
        f"what the captioner says, {then} {_unknown(cards)}"
    )
    return Section("What it says", text.strip(), [_gallery(cards)])


def _gallery(cards: Sequence[Card]) -> Gallery:
    return Gallery([card.on_page for card in cards])


def _unknown(cards: Sequence[Card]) -> str:
    """Say what `<UNK>` is, where it can be seen."""
    if any(UNKNOWN in caption for card in cards for caption in card.captions):
        return f"{UNKNOWN} stands for a word that the vocabulary lacks."
    return ""


def scored(scores: Scores) -> Table:
    """How like true captions the captioner's are, and one caption for all."""
    both = (scores.captioner, scores.constant)
    ngrams = list(zip(*(of.corpus for of in both), strict=True))
    rows = [
        ("unigram BLEU", *(f"{of.bleu:.3f}" for of in both)),
        *((f"BLEU-{n}", *(f"{b:.3f}" for b in of)) for n, of in enumerate(ngrams, 1)),
        ("word for word", *(f"{of.exact:.1%}" for of in both)),
        ("invented words", *(f"{of.invented:.1%}" for of in both)),
    ]
    notes = [
        "The fraction of a caption's words that a true caption has too, less if it is "
        "the shorter one; the mean over all true captions, one at a time.",
        "The same, but against all true captions of a picture at once.",
        *(f"Runs of up to {n} words in common." for n in range(2, len(ngrams) + 1)),
        "Captions that are exactly one of their picture's true ones.",
        "Words said that no training caption has.",
    ]
    return Table(("score", "captioner", "one caption for all"), rows, notes)


def _yardstick(scores: Scores) -> str:
    """Say what a good score is."""
    why = (
        "Every scene has captions in five wordings, so even a true one shares few "
        "words with some of them."
        if scores.accuracy
        else "Two people seldom choose the same words: people's own captions of photos "
        "reach a unigram BLEU of only about 0.35 against each other."
    )
    return (
        "1 would be perfect. What can be had without looking: of the training captions "
        f"tried, the one most like the others (“{scores.safest}”). {why}"
    )


def _sizes(trained: Trained) -> str:
    """Say how large the data and the network are."""
    data = trained.data
    splits = ", ".join(
        f"{len(split.captions):,} captions of {len(split.features):,} pictures for "
        f"{SPLITS[split.name]}"
        for split in (data.train, data.val)
    )
    weights = sum(parameter.size for parameter in trained.model.parameters())
    return (
        f"{splits}; a vocabulary of {len(data.vocabulary):,} {UNITS[data.tokens]}; "
        f"a network of {weights:,} weights."
    )
