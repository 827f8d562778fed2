"""Reports of the judge: on training, and on one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from apps import report as pages
from apps import run_report
from apps.cola.evaluate import Score
from apps.cola.explain import Verdict, draw
from apps.cola.metrics import HEADINGS
from apps.cola.settings import Settings
from apps.cola.train import Trained
from apps.report import Plot, Report, Section
from apps.run_folder import RunFolder
from apps.run_report import State, Story
from apps.tables import Table

Scores = Mapping[str, Mapping[str, Score]]

MATTHEWS = (
    "Matthews correlation is 1 if every verdict is right, 0 for verdicts that have "
    "nothing to do with the sentences, however many are right by luck."
)


def write(
    run: RunFolder,
    state: State,
    *,
    trained: Trained | None = None,
    scores: Scores | None = None,
    examples: Sequence[Verdict] = (),
) -> Path:
    """Write a run's `report.html`, without what is not given yet; give its path."""
    story = Story(
        app="cola",
        use="judge --run {} 'The girl blamed himself.'",
        title=f"A judge of sentences from {Path(run.config()['data']).name}",
        lead="A model that learns which sentences are acceptable English.",
        unit="sentences",
        targets="the true verdicts",
        settings=Settings,
        facts=_facts(scores) if scores else [],
        results=[
            *(
                Section(f"Scores on {split}", MATTHEWS, tables(of))
                for split, of in (scores or {}).items()
            ),
            *(explained(verdict, n) for n, verdict in enumerate(examples, start=1)),
        ],
        sizes=_sizes(trained) if trained else "",
    )
    return run_report.write(run, state, story)


def write_verdict(verdict: Verdict, to: Path) -> None:
    """Write a page of one sentence's verdict; its picture lies beside it."""
    sections = [explained(verdict, 1)]
    pages.write(Report("Is it acceptable?", sections, lead=verdict.text), to)


def explained(verdict: Verdict, number: int) -> Section:
    """One sentence: the verdict, each head's attention, and the attributions."""
    text = " ".join([f"Judged {verdict.summary}.", *verdict.warnings])
    tokens = verdict.reading.tokens
    if not tokens:
        return Section(verdict.text, text)
    strongest = tokens[int(verdict.attribution.argmax())]
    note = (
        "Rows are queries, columns keys; a row that is not dark anywhere attends to "
        "padding. Below, each word's attribution: how far its vector moves the verdict."
        if verdict.attention
        else "How much each run of words contributes to the verdict."
    )
    alt = f"Attention over {len(tokens)} positions; {strongest} contributes most."
    plot = Plot(f"verdict-{number}", draw(verdict), alt, note)
    return Section(verdict.text, text, [plot])


def _facts(scores: Scores) -> list[tuple[str, str]]:
    split, of = next(iter(scores.items()))
    ours = next(iter(of.values())).confusion
    return [
        (f"judged right on {split}", f"{ours.accuracy:.1%}"),
        (f"Matthews correlation on {split}", f"{ours.matthews:.3f}"),
    ]


def tables(of: Mapping[str, Score]) -> list[Table]:
    """The scores of each judge; what the first says of each kind of sentence."""
    first = next(iter(of.values()))
    ours = first.confusion
    rows = [(name, *score.cells) for name, score in of.items()]
    counts = [
        ("acceptable", f"{ours.true_positive:,}", f"{ours.false_negative:,}"),
        ("not acceptable", f"{ours.false_positive:,}", f"{ours.true_negative:,}"),
    ]
    by_source = [
        (source, *(f"{score.by_source[source]:.1%}" for score in of.values()))
        for source in first.by_source
    ]
    return [
        Table(("who judges", *HEADINGS), rows),
        Table(("sentences that are", "judged acceptable", "judged not"), counts),
        Table(("right, by source", *of), by_source),
    ]


def _sizes(trained: Trained) -> str:
    corpus = trained.corpus
    weights = sum(parameter.size for parameter in trained.model.parameters())
    return (
        f"{len(corpus.train):,} sentences for training, {len(corpus.validation):,} for "
        f"validation; a vocabulary of {len(trained.reader.ids):,} words; a network of "
        f"{weights:,} weights."
    )
