"""The commands of the captioner.

They import what they need when they run: `--help` answers at once, and the command
line can look which `minigrad` and `nn` Python finds before they are imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.captioning.settings import DEMO, Decoding, DecodingError, Settings, Width
from apps.console import Group, new_console, say
from apps.options import given, setting_options
from apps.settings import settings_of

if TYPE_CHECKING:
    from apps.captioning.look import Card
    from apps.captioning.train import Trained
    from minigrad import Device

SHAPES_FOLDER = Path("runs/shapes")
DIR = click.argument("folder", metavar="DIR", type=options.FOLDER)
FEATURES = options.setting_option(Settings, "features")
NEW_RUN = options.new_run_option("caption")
SPLITS = click.Choice(["train", "val"])
SPLIT = click.option("--split", type=SPLITS, default="val", show_default=True)


@click.group(cls=Group, context_settings=options.HELP)
def caption() -> None:
    """Teach a recurrent network to describe pictures."""


@caption.group(cls=Group)
def data() -> None:
    """Look at a data set, fetch the published one, or draw one."""


@caption.command()
@click.option(
    "--data",
    type=options.FOLDER,
    help="Folder in the cs231n layout; with --resume, where the run's data lie now.  "
    "[default: shapes, drawn on first use]",
)
@setting_options(Settings)
@setting_options(Decoding)
@NEW_RUN
@options.RESUME
@options.COMPILE
@options.device_option()
def train(
    data: Path | None,
    run: Path | None,
    resume: Path | None,
    compiled: bool,
    device: Device,
    **more: Any,
) -> None:
    """Train a captioner, and score it once on the validation pictures.

    How words are chosen (--how and what goes with it) does not change the training:
    it is what the scores, the report and later `sample` and `evaluate` begin with.
    """
    if resume is not None:
        options.refuse_settings()
    seed = more["seed"] or 0
    decoding = _decoding(more, seed) or Decoding(seed=seed)
    from apps.captioning.app import APP

    console = new_console()
    if resume is not None:
        APP.resume(resume, console, device, data, compiled)
    else:
        settings = Settings(_folder(data), decoding=decoding, **given(more))
        APP.start(settings, run, console, device, compiled)


@caption.command()
@options.RUN
@SPLIT
@options.MOVED_DATA
@options.count_option(8, "Pictures to show.")
@setting_options(Decoding)
@options.RUN_SEED
@options.device_option()
def sample(
    run: Path,
    split: str,
    data: Path | None,
    count: int,
    seed: int | None,
    device: Device,
    **more: Any,
) -> None:
    """Show what a trained captioner says of some pictures.

    The seed chooses the pictures, and what is drawn with --how sample or mbr.
    """
    asked = _decoding(more, seed)
    from apps.captioning.app import APP, show_samples

    console = new_console()
    trained = _as_asked(APP.load(run, console, device, data), asked, seed)
    chosen = trained.settings.seed if seed is None else seed
    show_samples(trained, run, split, count, chosen, console)


@caption.command()
@options.RUN
@SPLIT
@options.MOVED_DATA
@setting_options(Decoding)
@options.RUN_SEED
@options.device_option()
def evaluate(
    run: Path,
    split: str,
    data: Path | None,
    seed: int | None,
    device: Device,
    **more: Any,
) -> None:
    """Score a trained captioner by BLEU, and on drawn scenes by what is correct."""
    asked = _decoding(more, seed)
    from apps.captioning.app import APP, print_scores

    console = new_console()
    trained = _as_asked(APP.load(run, console, device, data), asked, seed)
    print_scores(trained, split, console)


@caption.command()
@options.SEED
@NEW_RUN
@options.device_option("cpu")  # so small a network keeps no GPU busy
def demo(seed: int, run: Path | None, device: Device) -> None:
    """Draw shapes, learn to describe them, and describe scenes never seen before."""
    from apps.captioning.app import APP

    console = new_console()
    console.print(f"Drawing coloured shapes, or finding them in {SHAPES_FOLDER} ...")
    settings = Settings(_folder(None), seed=seed, **DEMO)
    APP.start(settings, run, console, device)


# -- data --------------------------------------------------------------------------


@data.command()
@DIR
@click.option("--split", type=SPLITS, default="train", show_default=True)
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
    png = to or Path("runs") / f"data-{folder.resolve().name}-{split}.png"
    page = png.with_suffix(".html")
    if png == page:
        png = page.with_suffix(".png")
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


def _decoding(more: dict[str, Any], seed: int | None) -> Decoding | None:
    """Take the decoding options, None if there are none; the first implies `how`."""
    declared = [of for of in settings_of(Decoding) if of.option]
    asked = given({of.name: more.pop(of.name) for of in declared})
    if not asked:
        return None
    implied = (of.heeded["how"][0] for of in declared if of.name in asked and of.heeded)
    how = asked.setdefault("how", next(implied, "greedy"))
    options.refuse_unheeded(Decoding, asked, "how", how)
    return Decoding(**asked, seed=seed or 0)


def _as_asked(trained: Trained, asked: Decoding | None, seed: int | None) -> Trained:
    """Decode as asked for, or as the run did. Raises: UsageError."""
    own = trained.settings.decoding
    decoding = asked or (own if seed is None else replace(own, seed=seed))
    try:
        decoding.check_vocabulary(len(trained.data.vocabulary))
    except DecodingError as error:
        raise click.UsageError(str(error)) from error
    return replace(trained, settings=replace(trained.settings, decoding=decoding))


def _folder(data: Path | None) -> str:
    """The whole path, so that a run finds its data from any working folder."""
    from apps.captioning import shapes

    return str((shapes.ensure(SHAPES_FOLDER) if data is None else data).resolve())


def _missing(folder: Path, cards: list[Card], shown: int) -> str:
    """Say which pictures could not be shown, and how to get them."""
    lost = f"{len(cards) - shown} of them are missing or cannot be read"
    if any(card.path for card in cards):
        place = f"Save each in {folder / 'images'} under its name in the table"
        known = any(card.url for card in cards)
        source = " (its address stands there too; some are dead)" if known else ""
        return f"{lost}, and are grey. {place}{source}."
    return (
        f"{lost}, and are grey: the folder names no pictures. List their names, one a "
        "row of the features, in train2014_images.txt and val2014_images.txt, and put "
        f"the files into {folder / 'images'}."
    )
