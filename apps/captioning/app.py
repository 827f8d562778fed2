"""The captioning app: its parts bound together, and what it prints."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from apps.app import App
from apps.captioning import look, report, sample, train
from apps.captioning.evaluate import Scores, evaluate
from apps.captioning.settings import Settings
from apps.captioning.train import Trained
from apps.console import say
from apps.run_folder import RunFolder
from apps.tables import print_table


def finish(trained: Trained, run: RunFolder, console: Console) -> Path:
    """Show samples of a trained captioner, score it, and return the report's path."""
    settings = trained.settings
    cards = show_samples(trained, run.path, "val", 8, settings.seed, console)
    scores = print_scores(trained, "val", console)
    right = {f"val_correct_{who}": a.correct for who, a in scores.accuracy.items()}
    run.log_scores(settings.epochs, val_bleu=scores.captioner.bleu, **right)
    return report.write(run, "finished", trained=trained, cards=cards, scores=scores)


def show_samples(
    trained: Trained, path: Path, split: str, count: int, seed: int, console: Console
) -> list[look.Card]:
    """Caption some pictures; print the captions, and draw them into a run's folder."""
    cards = sample.draw_samples(trained, getattr(trained.data, split), count, seed)
    sample.print_samples(cards, console)
    if any(card.path and card.path.exists() for card in cards):
        look.save_cards(cards, path / "samples.png")
        console.print(f"Pictures with captions: {path / 'samples.png'}")
    return cards


def print_scores(trained: Trained, split: str, console: Console) -> Scores:
    """Score a captioner on a split, and print the scores."""
    scores = evaluate(trained, getattr(trained.data, split))
    print_table(report.scored(scores), console, split, right=True)
    if scores.accuracy:
        kind = "unseen" if split == "val" else "training"
        print_table(report.correct(scores), console, f"{kind} scenes", right=True)
        say(report.told_correct(scores, kind), console)
    return scores


APP = App("caption", Settings, train.build, report.write, finish)
