"""The commands of the judge of sentences.

They import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.cola.settings import GRAMMAR, RECIPES, Division, Settings
from apps.console import Group, new_console, say
from apps.errors import UserError

if TYPE_CHECKING:
    from apps.cola.sentences import Corpus
    from minigrad import Device


CORPUS = click.argument(
    "corpus", metavar="[CORPUS]", type=options.FOLDER, required=False
)
DIVISION = options.setting_option(Settings, "division")


@click.group(cls=Group, context_settings=options.HELP)
def cola() -> None:
    """Teach a Transformer to judge whether a sentence is acceptable English."""


@cola.group(cls=Group)
def data() -> None:
    """Look at sentences, fetch CoLA, or write the embedded grammar's.

    CORPUS is a folder or zip in CoLA's layout; without it, the embedded grammar.
    """


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
@options.COMPILE
@options.device_option()
def train(
    data: Path | None,
    recipe: str | None,
    run: Path | None,
    resume: Path | None,
    compiled: bool,
    device: Device,
    **more: Any,
) -> None:
    """Train a judge, and score it once on the validation sentences."""
    if resume is not None:
        options.refuse_settings()
    from apps.cola.app import APP

    console = new_console()
    if resume is not None:
        APP.resume(resume, console, device, data, compiled)
    else:
        name = recipe or ("grammar" if data is None else "cola")
        settings = _settings(data, name, options.given(more))
        APP.start(settings, run, console, device, compiled)


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
    if split is not None:
        _require(split, splits, "split")
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


# -- data --------------------------------------------------------------------------


@data.command()
@CORPUS
@click.option("--split", default="validation", show_default=True)
@click.option("--source", help="Only this phenomenon or publication.")
@options.count_option(4, "Sentences of each source.")
@options.SEED
@DIVISION
def show(
    corpus: Path | None,
    split: str,
    source: str | None,
    count: int,
    seed: int,
    division: Division | None,
) -> None:
    """Show a few sentences of every source; a star is before unacceptable ones."""
    from apps.cola import look

    opened = _open(corpus, division)
    _require(split, opened.splits, "split")
    sentences = opened.splits[split]
    if source is not None:
        _require(source, look.sources(sentences), opened.grouping)
    chosen = look.choose(sentences, count, seed, source)
    look.print_sentences(chosen, opened.grouping, new_console())


@data.command()
@CORPUS
@DIVISION
def info(corpus: Path | None, division: Division | None) -> None:
    """Check a corpus and say what is in it."""
    from apps.cola import look

    look.print_info(_open(corpus, division), new_console())


options.add_download(
    data,
    "apps.cola.catalogue",
    "data/cola",
    "Fetch CoLA's public sentences (0.3 MB) into DIR (data/cola).",
    "To look at it: minigrad cola data show {}",
    "To train on it: minigrad cola train --data {}",
)


@data.command()
@options.new_data_options("sentences")
def make(folder: Path, seed: int, train: int | None, val: int | None) -> None:
    """Write the embedded grammar's sentences into a new folder, in CoLA's layout."""
    from apps.cola import grammar
    from apps.cola.data import write_corpus

    sizes = (train or grammar.TRAIN_SENTENCES, val or grammar.VALIDATION_SENTENCES)
    made = grammar.corpus(seed, *sizes)
    write_corpus(folder, made)
    console = new_console()
    counts = f"{len(made.train):,} training and {len(made.validation):,} validation"
    say(f"{counts} sentences.", console)
    say(f"To look at them: minigrad cola data show {folder}", console)


def _open(path: Path | None, division: Division | None) -> Corpus:
    from apps.cola import grammar
    from apps.cola.data import load_corpus

    return grammar.corpus() if path is None else load_corpus(path, division)


def _require(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise UserError(
            f"there is no {what} {name!r} here. Give one of {', '.join(known)}."
        )


def _newest() -> Path:
    """The run that was saved last. Raises: UserError if there is none."""
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
