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
from apps.captioning.data_commands import data as data_group
from apps.captioning.settings import DEMO, Decoding, DecodingError, Settings
from apps.console import Group, new_console
from apps.options import given, setting_options
from apps.settings import settings_of

if TYPE_CHECKING:
    from apps.captioning.train import Trained
    from minigrad import Device

SHAPES_FOLDER = Path("runs/shapes")
NEW_RUN = options.new_run_option("caption")
SPLIT = click.option(
    "--split", type=click.Choice(["train", "val"]), default="val", show_default=True
)


@click.group(cls=Group, context_settings=options.HELP)
def caption() -> None:
    """Teach a recurrent network to describe pictures."""


caption.add_command(data_group)


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
@options.device_option()
def train(
    data: Path | None,
    run: Path | None,
    resume: Path | None,
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
        APP.resume(resume, console, device, data)
    else:
        settings = Settings(_folder(data), decoding=decoding, **given(more))
        APP.start(settings, run, console, device)


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
    trained = APP.load(run, console, device, data)
    how = _as_asked(trained, asked, seed)
    chosen = trained.settings.seed if seed is None else seed
    show_samples(trained, run, split, count, chosen, console, how)


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
    trained = APP.load(run, console, device, data)
    print_scores(trained, split, console, _as_asked(trained, asked, seed))


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


def _decoding(more: dict[str, Any], seed: int | None) -> Decoding | None:
    """Take the options that say how words are chosen; None if there are none.

    Without `how`, the first of them says it.
    """
    declared = [of for of in settings_of(Decoding) if of.option]
    asked = given({of.name: more.pop(of.name) for of in declared})
    if not asked:
        return None
    implied = (of.heeded["how"][0] for of in declared if of.name in asked and of.heeded)
    how = asked.setdefault("how", next(implied, "greedy"))
    options.refuse_unheeded(Decoding, asked, "how", how)
    return Decoding(**asked, seed=seed or 0)


def _as_asked(trained: Trained, asked: Decoding | None, seed: int | None) -> Decoding:
    """How to choose words: as was asked for, or as the network was trained to.

    Raises: UsageError if there are fewer words than are to be chosen from.
    """
    own = trained.settings.decoding
    decoding = asked or (own if seed is None else replace(own, seed=seed))
    try:
        decoding.check_vocabulary(len(trained.data.vocabulary))
    except DecodingError as error:
        raise click.UsageError(str(error)) from error
    return decoding


def _folder(data: Path | None) -> str:
    """The whole path, so that a run finds its data from any working folder."""
    from apps.captioning import shapes

    return str((shapes.ensure(SHAPES_FOLDER) if data is None else data).resolve())
