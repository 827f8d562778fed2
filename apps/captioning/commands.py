"""The commands of the captioner.

They import what they need when they run: `--help` answers at once, and the command
line can look which `minigrad` and `nn` Python finds before they are imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import limits
from apps.captioning.data_commands import data as data_group
from apps.captioning.settings import DEMO, Decoding, Settings
from apps.console import Group, new_console
from apps.options import (
    FOLDER,
    MOVED_DATA,
    RESUME,
    RUN,
    RUN_SEED,
    SEED,
    device_option,
    given,
    new_run_option,
    numbers,
    refuse_settings,
    refuse_unheeded,
    setting_options,
)
from apps.settings import settings_of

if TYPE_CHECKING:
    from apps.captioning.train import Trained
    from minigrad import Device

SHAPES_FOLDER = Path("runs/shapes")
NEW_RUN = new_run_option("caption")
SPLIT = click.option(
    "--split", type=click.Choice(["train", "val"]), default="val", show_default=True
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def caption() -> None:
    """Teach a recurrent network to describe pictures."""


caption.add_command(data_group)


@caption.command()
@click.option(
    "--data",
    type=FOLDER,
    help="Folder in the cs231n layout; with --resume, where the run's data lie now.  "
    "[default: shapes, drawn on first use]",
)
@setting_options(Settings)
@setting_options(Decoding)
@NEW_RUN
@RESUME
@device_option("auto")
def train(
    data: Path | None,
    run: Path | None,
    resume: Path | None,
    device: Device,
    **options: Any,
) -> None:
    """Train a captioner, and score it once on the validation pictures.

    How words are chosen (--how and what goes with it) does not change the training:
    it is what the scores, the report and later `sample` and `evaluate` begin with.
    """
    if resume is not None:
        refuse_settings()
    seed = options["seed"] or 0
    decoding = _decoding(options, seed) or Decoding(seed=seed)
    from apps.captioning.app import APP

    console = new_console()
    if resume is not None:
        APP.resume(resume, console, device, data)
    else:
        settings = Settings(_folder(data), decoding=decoding, **given(options))
        APP.start(settings, run, console, device)


@caption.command()
@RUN
@SPLIT
@MOVED_DATA
@click.option("--count", type=numbers(limits.SHOWN), default=8, show_default=True)
@setting_options(Decoding)
@RUN_SEED
@device_option("auto")
def sample(
    run: Path,
    split: str,
    data: Path | None,
    count: int,
    seed: int | None,
    device: Device,
    **options: Any,
) -> None:
    """Show what a trained captioner says of some pictures.

    The seed chooses the pictures, and what is drawn with --how sample or mbr.
    """
    asked = _decoding(options, seed)
    from apps.captioning.app import APP, show_samples

    console = new_console()
    trained = APP.load(run, console, device, data)
    how = _as_asked(trained, asked, seed)
    chosen = trained.settings.seed if seed is None else seed
    show_samples(trained, run, split, count, chosen, console, how)


@caption.command()
@RUN
@SPLIT
@MOVED_DATA
@setting_options(Decoding)
@RUN_SEED
@device_option("auto")
def evaluate(
    run: Path,
    split: str,
    data: Path | None,
    seed: int | None,
    device: Device,
    **options: Any,
) -> None:
    """Score a trained captioner by BLEU, and on drawn scenes by what is correct."""
    asked = _decoding(options, seed)
    from apps.captioning.app import APP, print_scores

    console = new_console()
    trained = APP.load(run, console, device, data)
    print_scores(trained, split, console, _as_asked(trained, asked, seed))


@caption.command()
@SEED
@NEW_RUN
@device_option("cpu")  # so small a network keeps no GPU busy
def demo(seed: int, run: Path | None, device: Device) -> None:
    """Draw shapes, learn to describe them, and describe scenes never seen before."""
    from apps.captioning.app import APP

    console = new_console()
    console.print(f"Drawing coloured shapes, or finding them in {SHAPES_FOLDER} ...")
    settings = Settings(_folder(None), seed=seed, **DEMO)
    APP.start(settings, run, console, device)


def _decoding(options: dict[str, Any], seed: int | None) -> Decoding | None:
    """Take the options that say how words are chosen; None if there are none.

    Without `how`, the first of them says it.
    """
    declared = [of for of in settings_of(Decoding) if of.option]
    asked = given({of.name: options.pop(of.name) for of in declared})
    if not asked:
        return None
    implied = (of.heeded["how"][0] for of in declared if of.name in asked and of.heeded)
    how = asked.setdefault("how", next(implied, "greedy"))
    refuse_unheeded(Decoding, asked, "how", how)
    return Decoding(**asked, seed=seed or 0)


def _as_asked(trained: Trained, asked: Decoding | None, seed: int | None) -> Decoding:
    """How to choose words: as was asked for, or as the network was trained to.

    Raises: UsageError if there are fewer words than are to be chosen from.
    """
    own = trained.settings.decoding
    decoding = asked or (own if seed is None else replace(own, seed=seed))
    try:
        decoding.check_vocabulary(len(trained.data.vocabulary))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return decoding


def _folder(data: Path | None) -> str:
    """The whole path, so that a run finds its data from any working folder."""
    from apps.captioning import shapes

    return str((shapes.ensure(SHAPES_FOLDER) if data is None else data).resolve())
