"""What can one do with the judge of sentences from the command line?

The commands import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import limits
from apps.cola.data_commands import DIVISION, PLACE
from apps.cola.data_commands import data as data_group
from apps.console import Group, clear_errors, new_console, say
from apps.errors import UserError
from apps.options import (
    FOLDER,
    MOVED_DATA,
    POSITIVE,
    RESUME,
    RUN,
    SEED,
    device_option,
    new_run_option,
    numbers,
    refuse_settings,
    setting_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from apps.cola.evaluate import Score
    from apps.cola.explain import Verdict
    from apps.cola.metrics import Confusion
    from apps.cola.train import Settings, Trained
    from apps.run_folder import RunFolder
    from minigrad import Device

SHARE = numbers(limits.SHARE)

# Shown in the report of every run, whatever it was trained on.
EXAMPLES = (
    "The keys near the lamp are dirty.",
    "The keys near the lamp is dirty.",
    "What was a picture of painted by Betsy?",
)

# What a setting is unless it is given: name, kind, help.
SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("max-train", POSITIVE, "Learn from so many sentences, chosen by the seed."),
    ("min-count", POSITIVE, "Words seen less often in training are unknown."),
    ("max-length", numbers(limits.LENGTH), "Words read of a sentence, and its mark."),
    ("embed-dim", POSITIVE, "Numbers that stand for a word."),
    ("num-heads", POSITIVE, "Attentions side by side."),
    ("hidden-dim", POSITIVE, "Width of the network behind each attention."),
    ("layers", POSITIVE, "Attentions one after the other."),
    ("dropout", SHARE, "Share of numbers left out at random in training."),
    ("word-dropout", SHARE, "Share of words made unknown in training."),
    ("lr", numbers(limits.RATE), "The highest learning rate."),
    ("warmup", SHARE, "Share of the steps in which the rate rises; then it falls."),
    ("weight-decay", numbers(limits.DECAY), "How far a step moves weights towards 0."),
    ("batch", POSITIVE, "Sentences a step."),
    ("neighbours", POSITIVE, "So many neighbours of the file stay in one minibatch."),
    ("epochs", POSITIVE, "Times to go through all sentences."),
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def cola() -> None:
    """Teach a Transformer to judge whether a sentence is acceptable English."""


cola.add_command(data_group)


@cola.command()
@click.option(
    "--data",
    type=PLACE,
    help="Folder or zip in CoLA's layout, or the course's arrays; with --resume, where "
    "the run's data lie now.  [default: a small grammar's sentences]",
)
@DIVISION
@click.option(
    "--recipe",
    type=click.Choice(["grammar", "cola", "transformer", "course"]),
    help="Settings to begin with: for the small grammar; for CoLA, the best that was "
    "found, or a Transformer; the course's model and preparation.  "
    "[default: cola with --data, else grammar]",
)
@setting_options(SETTINGS)
@SEED
@new_run_option("cola")
@RESUME
@device_option("auto")
def train(
    data: Path | None,
    recipe: str | None,
    run: Path | None,
    resume: Path | None,
    device: Device,
    **options: Any,
) -> None:
    """Train a judge, and score it once on the validation sentences."""
    if resume is not None:
        refuse_settings(click.get_current_context())
    with clear_errors():
        from apps.cola import train as training

        console = new_console()
        if resume is not None:
            training.resume(resume, console, _finish_in(console), device, data)
            return
        settings = _settings(data, recipe, options)
        training.start(settings, run, console, _finish_in(console), device)


@cola.command()
@RUN
@click.option("--split", help="Which sentences.  [default: all but those learned from]")
@MOVED_DATA
@device_option("auto")
def evaluate(run: Path, split: str | None, data: Path | None, device: Device) -> None:
    """Score a trained judge: Matthews correlation, what is right, and on what."""
    with clear_errors():
        from apps.cola import train as training

        console = new_console()
        trained = training.load(run, console, device, data)
        splits = trained.corpus.splits
        if split is not None and split not in splits:
            raise UserError(
                f"there is no split {split!r} here. Give one of {', '.join(splits)}."
            )
        chosen = [split] if split else [name for name in splits if name != "train"]
        _print_scores(trained, chosen, console)


@cola.command()
@click.argument("sentence")
@click.option(
    "--run", type=FOLDER, help="Whose judge.  [default: the newest of runs/cola-*]"
)
@device_option("auto")
def judge(sentence: str, run: Path | None, device: Device) -> None:
    """Say whether SENTENCE is acceptable, what was looked at, and what decided.

    A picture (verdict.png) and a page (verdict.html) are written into the run's folder.
    """
    with clear_errors():
        from apps.cola import explain, report
        from apps.cola import train as training

        console = new_console()
        path = run or _newest()
        trained = training.load_judge(path, console, device)
        verdict = explain.judge(trained, sentence)
        explain.print_verdict(verdict, console)
        page = path / "verdict.html"
        report.write_verdict(verdict, page)
        say(f"As a picture: {path / 'verdict-1.png'}; as a page: {page}", console)


def _newest() -> Path:
    """The run that was begun last.

    Raises: UserError if there is none.
    """
    runs = sorted(Path("runs").glob("cola-*/checkpoint.h5"))
    if not runs:
        raise UserError(
            "there is no trained judge in runs/. Train one by 'minigrad cola train', "
            "or name the folder of one by --run."
        )
    return max(runs, key=lambda file: file.stat().st_mtime).parent


def _settings(
    data: Path | None, recipe: str | None, options: dict[str, Any]
) -> Settings:
    """A recipe, with what was asked for otherwise."""
    from apps.cola import train as training

    name = recipe or ("grammar" if data is None else "cola")
    given = {key: value for key, value in options.items() if value is not None}
    model = training.RECIPES[name].get("model", "transformer")
    for key in given:
        if key in training.UNHEEDED[model]:
            option = "--" + key.replace("_", "-")
            raise click.UsageError(
                f"{option} has no effect with --recipe {name}. Leave it out, or give "
                "--recipe transformer."
            )
    # The whole path, so that a run finds its data from any working folder.
    place = training.GRAMMAR if data is None else str(data.resolve())
    try:
        return training.Settings(**{**training.RECIPES[name], **given, "data": place})
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _finish_in(console: Console) -> Callable[[Trained, RunFolder], None]:
    """What is done with a trained judge: score it, and show it at work."""

    def finish(trained: Trained, run: RunFolder) -> None:
        from apps.cola import explain, report

        splits = [name for name in trained.corpus.splits if name != "train"]
        scores = _print_scores(trained, splits, console)
        ours = next(iter(scores["validation"].values())).confusion
        last = run.last_record(trained.settings.epochs)
        run.log(
            epoch=last["epoch"],
            step=last["step"],
            val_accuracy=ours.accuracy,
            val_matthews=ours.matthews,
        )
        examples: list[Verdict] = [explain.judge(trained, text) for text in EXAMPLES]
        page = report.write(
            run, "finished", trained=trained, scores=scores, examples=examples
        )
        say(f"The run is in {run.path}; its report: {page}", console)

    return finish


def _print_scores(
    trained: Trained, splits: Sequence[str], console: Console
) -> Mapping[str, Mapping[str, Score]]:
    """Print a table and two lines for each split."""
    from apps.cola.evaluate import evaluate

    scores = evaluate(trained, splits)
    for split, of in scores.items():
        _print_table(split, of, console)
        ours = next(iter(of.values()))
        shares = (f"{name} {share:.1%}" for name, share in ours.by_source.items())
        say(f"right, by {trained.corpus.grouping}: {', '.join(shares)}", console)
        _print_counts(ours.confusion, console)
    return scores


def _print_table(split: str, scores: Mapping[str, Score], console: Console) -> None:
    from rich.table import Table

    from apps.cola.metrics import HEADINGS

    table = Table("who judges", title=split, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for name, score in scores.items():
        table.add_row(name, *score.cells)
    console.print(table)


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
