"""What came of training a judge of sentences, or of judging one, as a page to read?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps import report as pages
from apps.cola.explain import Verdict, draw
from apps.cola.metrics import HEADINGS
from apps.report import Command, Plot, Report, Section, State, Table

if TYPE_CHECKING:
    from apps.cola.evaluate import Score
    from apps.cola.train import Trained
    from apps.run_folder import RunFolder

REPORT_FILE = "report.html"

MEANINGS = {
    "data": "the sentences: a folder or zip in CoLA's layout, or the embedded grammar",
    "division": "CoLA's sentences divided as in the course, or as published",
    "model": "a Transformer that hides padding, or the course's",
    "max_train": "sentences to learn from; None for all",
    "min_count": "words seen less often in training are unknown",
    "max_length": "words that are read of a sentence, the mark for it included",
    "embed_dim": "numbers that stand for a word",
    "num_heads": "attentions side by side",
    "hidden_dim": "width of the small network behind each attention",
    "layers": "attentions one after the other",
    "dropout": "share of numbers left out at random in training",
    "word_dropout": "share of words made unknown at random in training",
    "lr": "how far one step moves the weights at most",
    "warmup": "share of the steps in which the learning rate rises; then it falls",
    "weight_decay": "how far a step moves the weights towards 0",
    "batch": "sentences that one step learns from",
    "neighbours": "sentences that follow one another and are learned from at once",
    "epochs": "how often training goes through all sentences",
    "seed": "begins the random numbers: the same seed, the same result",
}


def write(
    run: RunFolder,
    state: State,
    *,
    trained: Trained | None = None,
    scores: Mapping[str, Mapping[str, Score]] | None = None,
    examples: Sequence[Verdict] = (),
) -> Path:
    """Write `report.html`, and its plots as PNG, into a run's folder; give its path.

    `scores` are by split and judge. What is not given is left out, so that the page can
    be written while training goes on.
    """
    config, metrics = run.config(), run.metrics()
    sections = [
        *(_scores(split, of) for split, of in (scores or {}).items()),
        *(explained(verdict, n) for n, verdict in enumerate(examples, start=1)),
        pages.learning(metrics, config["epochs"], "the true verdicts"),
        pages.settings(config, MEANINGS, _sizes(trained) if trained else ""),
        _commands(run.path, state),
    ]
    report = Report(
        title=f"A judge of sentences from {Path(config['data']).name}",
        lead="A model that learns which sentences are acceptable English.",
        status=pages.status(state, metrics, config["epochs"]),
        facts=_facts(metrics, scores),
        sections=sections,
        refresh=pages.REFRESH if state == "training" else None,
    )
    path = run.path / REPORT_FILE
    with run.saving(path):
        pages.write(report, path)
    return path


def write_verdict(verdict: Verdict, to: Path) -> None:
    """Write a page of one sentence's verdict; its picture lies beside it."""
    report = Report(
        title="Is it acceptable?", lead=verdict.text, sections=[explained(verdict, 1)]
    )
    pages.write(report, to)


def explained(verdict: Verdict, number: int) -> Section:
    """One sentence: the verdict, what each head looks at, and what pulls it."""
    text = " ".join([f"Judged {verdict.told}.", *verdict.warnings])
    tokens = verdict.reading.tokens
    if not tokens:
        return Section(verdict.text, text)
    strongest = tokens[int(verdict.pull.argmax())]
    note = (
        "Rows look, columns are looked at; a row that is not dark anywhere looks at "
        "padding. Below, how far each word's vector pulls the verdict."
        if verdict.attention
        else "How much each run of words adds to the verdict, or takes from it."
    )
    alt = (
        f"Attention of each head over {len(tokens)} positions; {strongest} pulls most."
    )
    plot = Plot(f"verdict-{number}", draw(verdict), alt, note)
    return Section(verdict.text, text, [plot])


def _facts(
    metrics: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Mapping[str, Score]] | None,
) -> list[tuple[str, str]]:
    facts = []
    if scores:
        split, of = next(iter(scores.items()))
        ours = next(iter(of.values())).confusion
        facts.append((f"judged right on {split}", f"{ours.accuracy:.1%}"))
        facts.append((f"Matthews correlation on {split}", f"{ours.matthews:.3f}"))
    return facts + pages.training_facts(metrics, "sentences")


def _scores(split: str, of: Mapping[str, Score]) -> Section:
    rows = [(name, *score.cells) for name, score in of.items()]
    text = (
        "Matthews correlation is 1 if every verdict is right, 0 for verdicts that have "
        "nothing to do with the sentences, whatever share of them is right by luck."
    )
    tables = [Table(("who judges", *HEADINGS), rows), _confusion(of), _by_source(of)]
    return Section(f"Scores on {split}", text, tables)


def _confusion(of: Mapping[str, Score]) -> Table:
    ours = next(iter(of.values())).confusion
    rows = [
        ("acceptable", f"{ours.true_positive:,}", f"{ours.false_negative:,}"),
        ("not acceptable", f"{ours.false_positive:,}", f"{ours.true_negative:,}"),
    ]
    return Table(("sentences that are", "judged acceptable", "judged not"), rows)


def _by_source(of: Mapping[str, Score]) -> Table:
    names = next(iter(of.values())).by_source
    rows = [
        (source, *(f"{score.by_source[source]:.1%}" for score in of.values()))
        for source in names
    ]
    return Table(("right, by source", *of), rows)


def _sizes(trained: Trained) -> str:
    corpus = trained.corpus
    weights = sum(parameter.size for parameter in trained.model.parameters())
    return (
        f"{len(corpus.train):,} sentences for training, {len(corpus.validation):,} for "
        f"validation; a vocabulary of {len(trained.reader.ids):,} words; a network of "
        f"{weights:,} weights."
    )


def _commands(path: Path, state: State) -> Section:
    run = shlex.quote(str(path))
    judge = Command(f"minigrad cola judge --run {run} 'The girl blamed himself.'")
    if state == "finished":
        evaluate = Command(f"minigrad cola evaluate {run}")
        return Section("More", "Judge a sentence, or score again:", [judge, evaluate])
    resume = Command(f"minigrad cola train --resume {run}")
    text = "Go on if training has stopped, or ask what it has learned so far:"
    return Section("More", text, [resume, judge])
