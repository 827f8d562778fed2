"""The commands about sentences: look at them, fetch them, make them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from apps import options
from apps.cola.settings import Division, Settings
from apps.console import Group, new_console, say

if TYPE_CHECKING:
    from apps.cola.sentences import Corpus

CORPUS = click.argument(
    "corpus", metavar="[CORPUS]", type=options.FOLDER, required=False
)
DIVISION = options.setting_option(Settings, "division")


@click.group(cls=Group)
def data() -> None:
    """Look at sentences, fetch CoLA, or write the embedded grammar's.

    CORPUS is a folder or zip in CoLA's layout; without it, the embedded grammar.
    """


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
    _require(split, list(opened.splits), "split")
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


def _require(name: str, known: list[str], what: str) -> None:
    if name not in known:
        raise click.ClickException(
            f"There is no {what} {name!r} here. Give one of {', '.join(known)}."
        )
