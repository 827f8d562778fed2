"""The app that judges sentences: what it trains, and what is printed of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import minigrad as mg
from apps import run_checkpoint
from apps.app import App, prepared, tell
from apps.cola import explain, report, train
from apps.cola.evaluate import evaluate
from apps.cola.metrics import Confusion
from apps.cola.sentences import Corpus
from apps.cola.settings import Settings
from apps.cola.train import Trained
from apps.console import say
from apps.run_folder import RunFolder
from apps.tables import print_table

# Shown in the report of every run, whatever it was trained on.
EXAMPLES = (
    "The keys near the lamp are dirty.",
    "The keys near the lamp is dirty.",
    "What was a picture of painted by Betsy?",
)


def finish(trained: Trained, run: RunFolder, console: Console) -> Path:
    """Score a trained judge, show it at work, and give the report's path."""
    splits = [name for name in trained.corpus.splits if name != "train"]
    scores = print_scores(trained, splits, console)
    ours = next(iter(scores["validation"].values())).confusion
    run.log_scores(
        trained.settings.epochs, val_accuracy=ours.accuracy, val_matthews=ours.matthews
    )
    examples = [explain.judge(trained, text) for text in EXAMPLES]
    return report.write(
        run, "finished", trained=trained, scores=scores, examples=examples
    )


def load_judge(path: Path, console: Console, device: str = "cpu") -> Trained:
    """Load what a run has trained, without the sentences: to judge others needs none.

    Raises: RunError if the run cannot be read.
    """
    run = RunFolder.open(path)
    settings = run.settings(Settings)
    if not run.preparation_path.exists():
        return APP.load(path, console, device)  # the run is older than that file
    with prepared(run) as kept:
        reader = train.reader_of(kept)
    generator = mg.Generator(settings.seed)
    model = train.make_model(settings, reader, generator).to(device)
    run_checkpoint.restore_model(model, run)
    tell(device, console)
    return Trained(settings, Corpus(settings.data, (), ()), reader, model)


def print_scores(
    trained: Trained, splits: Sequence[str], console: Console
) -> report.Scores:
    """Score a judge on splits; print a table and two lines for each."""
    scores = evaluate(trained, splits)
    for split, of in scores.items():
        print_table(report.compared(of), console, split, right=True)
        ours = next(iter(of.values()))
        right = (f"{name} {share:.1%}" for name, share in ours.by_source.items())
        say(f"right, by {trained.corpus.grouping}: {', '.join(right)}", console)
        _print_counts(ours.confusion, console)
    return scores


def _print_counts(counts: Confusion, console: Console) -> None:
    acceptable = counts.true_positive + counts.false_negative
    others = counts.false_positive + counts.true_negative
    judged_so = counts.true_positive + counts.false_positive
    if acceptable and others and judged_so in (0, acceptable + others):
        say("It judges all sentences alike, and so has learned nothing.", console)
    say(
        f"of {acceptable:,} acceptable sentences, {counts.true_positive:,} are judged "
        f"so; of {others:,} others, {counts.true_negative:,}",
        console,
    )


APP = App("cola", Settings, train.build, report.write, finish)
