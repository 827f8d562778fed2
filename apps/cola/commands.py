"""The commands of the judge of sentences.

They import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.cola.data_commands import data as data_group
from apps.cola.settings import GRAMMAR, RECIPES, Settings
from apps.console import Group, new_console, say
from apps.errors import UserError

if TYPE_CHECKING:
    from minigrad import Device


@click.group(cls=Group, context_settings=options.HELP)
def cola() -> None:
    """Teach a Transformer to judge whether a sentence is acceptable English."""


cola.add_command(data_group)


@cola.command()
@click.option(
    "--data",
    type=options.FOLDER,
    help="Folder or zip in CoLA's layout, or the course's arrays; with --resume, where "
    "the run's data lie now.  [default: a small grammar's sentences]",
)
@click.option(
    "--recipe",
    type=click.Choice([*RECIPES]),
    help="Settings to begin with: for the small grammar; for CoLA, the best that was "
    "found, or a Transformer; the course's model and preparation.  "
    "[default: cola with --data, else grammar]",
)
@options.setting_options(Settings, "the recipe's")
@options.new_run_option("cola")
@options.RESUME
@options.device_option()
def train(
    data: Path | None,
    recipe: str | None,
    run: Path | None,
    resume: Path | None,
    device: Device,
    **more: Any,
) -> None:
    """Train a judge, and score it once on the validation sentences."""
    if resume is not None:
        options.refuse_settings()
    from apps.cola.app import APP

    console = new_console()
    if resume is not None:
        APP.resume(resume, console, device, data)
    else:
        name = recipe or ("grammar" if data is None else "cola")
        APP.start(_settings(data, name, options.given(more)), run, console, device)


@cola.command()
@options.RUN
@click.option("--split", help="Which sentences.  [default: all but those learned from]")
@options.MOVED_DATA
@options.device_option()
def evaluate(run: Path, split: str | None, data: Path | None, device: Device) -> None:
    """Score a trained judge: Matthews correlation, what is right, and on what."""
    from apps.cola.app import APP, print_scores

    console = new_console()
    trained = APP.load(run, console, device, data)
    splits = trained.corpus.splits
    if split is not None and split not in splits:
        raise UserError(
            f"there is no split {split!r} here. Give one of {', '.join(splits)}."
        )
    chosen = [split] if split else [name for name in splits if name != "train"]
    print_scores(trained, chosen, console)


@cola.command()
@click.argument("sentence")
@click.option(
    "--run",
    type=options.FOLDER,
    help="Whose judge.  [default: the newest of runs/cola-*]",
)
@options.device_option()
def judge(sentence: str, run: Path | None, device: Device) -> None:
    """Say whether SENTENCE is acceptable, what was attended to, and what decided.

    A picture (verdict.png) and a page (verdict.html) are written into the run's folder.
    """
    from apps.cola import explain, report
    from apps.cola.app import load_judge

    console = new_console()
    path = run or _newest()
    verdict = explain.judge(load_judge(path, console, device), sentence)
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


def _settings(data: Path | None, recipe: str, asked: dict[str, Any]) -> Settings:
    """A recipe, with what was asked for otherwise."""
    options.refuse_unheeded(Settings, asked, "recipe", recipe)
    # The whole path, so that a run finds its data from any working folder.
    asked["data"] = GRAMMAR if data is None else str(data.resolve())
    try:
        return Settings(**{**RECIPES[recipe], **asked})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
