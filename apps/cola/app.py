"""The app that judges sentences: its parts bound together, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import minigrad as mg
from apps import run_checkpoint
from apps.app import App, prepared, tell
from apps.cola import explain, report, train
from apps.cola.evaluate import evaluate
from apps.cola.sentences import Corpus
from apps.cola.settings import Settings
from apps.cola.train import Trained
from apps.console import say
from apps.run_folder import RunFolder
from apps.tables import print_table

# Judged in the report of every run.
EXAMPLES = (
    "The keys near the lamp are dirty.",
    "The keys near the lamp is dirty.",
    "What was a picture of painted by Betsy?",
)


def finish(trained: Trained, run: RunFolder, console: Console) -> Path:
    """Score a trained judge, judge examples, and return the report's path."""
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
    """Score a judge on splits, and print the scores."""
    scores = evaluate(trained, splits)
    for split, of in scores.items():
        say(f"{split}:", console)
        for table in report.tables(of):
            print_table(table, console, right=True)
        counts = next(iter(of.values())).confusion
        if counts.judges_alike:
            say("It judges all sentences alike, and so has learned nothing.", console)
    return scores


APP = App("cola", Settings, train.build, report.write, finish)
