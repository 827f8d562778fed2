"""The commands about data sets: look at one, fetch one, draw one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from apps import options
from apps.captioning.settings import Settings, Width
from apps.console import Group, new_console, say

if TYPE_CHECKING:
    from apps.captioning.look import Card

DIR = click.argument("folder", metavar="DIR", type=options.FOLDER)
FEATURES = options.setting_option(Settings, "features")


@click.group(cls=Group)
def data() -> None:
    """Look at a data set, fetch the published one, or draw one."""


@data.command()
@DIR
@click.option(
    "--split", type=click.Choice(["train", "val"]), default="train", show_default=True
)
@options.count_option(8, "Pictures to show.")
@options.SEED
@FEATURES
@click.option(
    "--to",
    type=options.FOLDER,
    help="PNG to write; the page lies beside it.  [default: runs/data-NAME-SPLIT.png]",
)
def show(
    folder: Path, split: str, count: int, seed: int, features: Width, to: Path | None
) -> None:
    """Show pictures with their captions: as a table, a PNG, and a page beside it."""
    from apps.captioning import look, report
    from apps.captioning.data import load_data

    console = new_console()
    opened = load_data(folder, features)
    cards = look.choose(opened, getattr(opened, split), count, seed)
    look.print_cards(cards, console)
    png, page = _paths(to, folder, split)
    shown = look.save_cards(cards, png)
    report.write_cards(cards, folder, split, page)
    say(f"{len(cards)} pictures with captions: {png}", console)
    say(f"The same as a page: {page}", console)
    if shown < len(cards):
        say(_missing(folder, cards, shown), console)


@data.command()
@DIR
@FEATURES
def info(folder: Path, features: Width) -> None:
    """Check a data set and say what is in it."""
    from apps.captioning import look
    from apps.captioning.data import load_data

    look.print_info(load_data(folder, features), new_console())


options.add_download(
    data,
    "apps.captioning.catalogue",
    "data/coco",
    "Fetch CS231n's copy of COCO's captions (1.0 GB) into DIR (data/coco). Needs 1.4 "
    "GB of disk on the way, 0.3 GB in the end.",
    "To train on it: minigrad caption train --data {}",
)


@data.command("make-shapes")
@options.new_data_options("scenes")
def make_shapes(folder: Path, seed: int, train: int | None, val: int | None) -> None:
    """Draw a set of coloured shapes with captions into a new folder."""
    from apps.captioning import shapes
    from apps.files import whole_folder

    scenes = (train or shapes.TRAIN_SCENES, val or shapes.VAL_SCENES)
    with whole_folder(folder) as unfinished:
        shapes.make(unfinished, seed, scenes)
    console = new_console()
    say(f"{scenes[0]} training and {scenes[1]} validation scenes.", console)
    say(f"To look at them: minigrad caption data show {folder}", console)


def _paths(to: Path | None, folder: Path, split: str) -> tuple[Path, Path]:
    """Where the PNG and the page go, two files whatever the one is called."""
    png = to or Path("runs") / f"data-{folder.resolve().name}-{split}.png"
    page = png.with_suffix(".html")
    return (png.with_suffix(".png") if png == page else png), page


def _missing(folder: Path, cards: list[Card], shown: int) -> str:
    """Say which pictures could not be shown, and how to get them."""
    lost = f"{len(cards) - shown} of them are missing or cannot be read"
    if any(card.path for card in cards):
        place = f"Save each in {folder / 'images'} under its name in the table"
        known = any(card.url for card in cards)
        source = " (its address stands there too; some are dead)" if known else ""
        return f"{lost}, and are grey. {place}{source}."
    return (
        f"{lost}, and are grey: the folder names no pictures. List their file names, "
        "one a row of the features, in train2014_images.txt and val2014_images.txt, "
        f"and put the files into {folder / 'images'}."
    )
