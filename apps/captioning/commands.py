"""What can one do with the captioner from the command line?

The commands import what they need when they run: `--help` answers at once, and the
command line can look which `minigrad` and `nn` Python finds before they are imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import limits
from apps.captioning.data_commands import data as data_group
from apps.console import Group, clear_errors, new_console, say
from apps.options import (
    FOLDER,
    MOVED_DATA,
    POSITIVE,
    RESUME,
    RUN,
    RUN_SEED,
    SEED,
    device_option,
    new_run_option,
    numbers,
    refuse_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from apps.captioning.decode import Decoding
    from apps.captioning.evaluate import Scores
    from apps.captioning.look import Card
    from apps.captioning.train import Trained
    from apps.run_folder import RunFolder
    from minigrad import Device

SHAPES_FOLDER = Path("runs/shapes")
NEW_RUN = new_run_option("caption")
SPLIT = click.option(
    "--split", type=click.Choice(["train", "val"]), default="val", show_default=True
)

DECODING_OPTIONS = (
    click.option(
        "--how",
        type=click.Choice(["greedy", "sample", "beam", "mbr"]),
        help="Choosing words: the likeliest next one; one drawn by its probability; "
        "the likeliest whole caption that a search finds; or, of many drawn captions, "
        "the one most like the others.  [default: greedy, or as the run was trained]",
    ),
    click.option(
        "--beam-size",
        type=numbers(limits.BEAMS),
        help="With --how beam: captions followed at once.  [default: 5]",
    ),
    click.option(
        "--length-penalty",
        type=numbers(limits.PENALTY),
        help="With --how beam: compare log-probability / words ** this; more than 0 "
        "favours longer captions.  [default: 0]",
    ),
    click.option(
        "--draws",
        type=numbers(replace(limits.DRAWS, low=2)),
        help="With --how mbr: captions drawn of each picture.  [default: 100]",
    ),
    click.option(
        "--temperature",
        type=numbers(limits.TEMPERATURE),
        help="With --how sample or mbr: below 1 more cautious, above 1 more daring.  "
        "[default: 1]",
    ),
    click.option(
        "--top-k",
        type=POSITIVE,
        help="With --how sample or mbr: draw from this many likeliest words.  "
        "[default: all]",
    ),
    click.option(
        "--allow-unknown",
        is_flag=True,
        help="Let it choose <UNK>, which is then left out of the caption.",
    ),
)

# Which ways of choosing words heed an option.
HEEDED_BY = {
    "beam_size": ("beam",),
    "length_penalty": ("beam",),
    "draws": ("mbr",),
    "temperature": ("sample", "mbr"),
    "top_k": ("sample", "mbr"),
}


def decoding_options(command: Any) -> Any:
    """Add the options that say how words are chosen."""
    for option in reversed(DECODING_OPTIONS):
        command = option(command)
    return command


def _make_decoding(
    how: str | None, seed: int | None, **options: Any
) -> Decoding | None:
    """Check the options together; None if there are none.

    Options that were not given keep their defaults.
    """
    from apps.captioning.decode import Decoding

    given = {name: value for name, value in options.items() if value}
    if how is None and not given:
        return None
    how = how or _implied(given)
    for name in given:
        heeding = HEEDED_BY.get(name, (how,))
        if how not in heeding:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} has no effect with --how {how}. Add --how "
                f"{' or --how '.join(heeding)}, or leave out {option}."
            )
    try:
        return Decoding(how=how, seed=seed or 0, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _implied(given: dict[str, Any]) -> str:
    """The way of choosing words that the first option is for."""
    for name, heeding in HEEDED_BY.items():
        if name in given:
            return heeding[0]
    return "greedy"


def _decoding_of(
    trained: Trained, asked: Decoding | None, seed: int | None
) -> Decoding:
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
@click.option(
    "--features",
    type=click.Choice(["pca", "full"]),
    default="pca",
    show_default=True,
    help="The short features of a picture, or the full ones.",
)
@click.option(
    "--tokens",
    type=click.Choice(["word", "char"]),
    default="word",
    show_default=True,
    help="Read and say one word at a time, or one letter.",
)
@click.option(
    "--max-train",
    type=POSITIVE,
    help="Learn from so many captions, chosen by the seed.  [default: all]",
)
@click.option(
    "--cell",
    type=click.Choice(["rnn", "lstm", "gru"]),
    default="lstm",
    show_default=True,
    help="The recurrent layer.",
)
@click.option(
    "--wordvec-dim",
    type=POSITIVE,
    default=256,
    show_default=True,
    help="Numbers that stand for a word, or a letter.",
)
@click.option(
    "--hidden-dim",
    type=POSITIVE,
    default=512,
    show_default=True,
    help="Numbers in the recurrent layer's state.",
)
@click.option(
    "--members",
    type=POSITIVE,
    default=1,
    show_default=True,
    help="Networks that learn side by side and decide together.",
)
@click.option(
    "--dropout",
    type=numbers(limits.SHARE),
    default=0.5,
    show_default=True,
    help="Share of word vectors and outputs dropped in training.",
)
@click.option(
    "--lr",
    type=numbers(limits.RATE),
    default=2e-3,
    show_default=True,
    help="Adam's first learning rate; a cosine lowers it to 0.",
)
@click.option(
    "--batch", type=POSITIVE, default=64, show_default=True, help="Captions a step."
)
@click.option(
    "--epochs",
    type=POSITIVE,
    default=12,
    show_default=True,
    help="Times to go through all captions.",
)
@decoding_options
@SEED
@NEW_RUN
@RESUME
@device_option("auto")
def train(
    data: Path | None,
    run: Path | None,
    resume: Path | None,
    seed: int,
    device: Device,
    **options: Any,
) -> None:
    """Train a captioner, and score it once on the validation pictures.

    How words are chosen (--how and what goes with it) does not change the training:
    it is what the scores, the report and later `sample` and `evaluate` begin with.
    """
    if resume is not None:
        refuse_settings(click.get_current_context())
    decoding, settings = _split_options(options, seed)
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        if resume is not None:
            training.resume(resume, console, _finish_in(console), device, data)
            return
        made = training.Settings(
            _data_folder(data), seed=seed, decoding=decoding, **settings
        )
        training.start(made, run, console, _finish_in(console), device)


@caption.command()
@RUN
@SPLIT
@MOVED_DATA
@click.option("--count", type=numbers(limits.SHOWN), default=8, show_default=True)
@decoding_options
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
    asked = _make_decoding(seed=seed, **options)
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        trained = training.load(run, console, device, data)
        decoding = _decoding_of(trained, asked, seed)
        chosen = trained.settings.seed if seed is None else seed
        _show_samples(trained, run, split, count, chosen, console, decoding)


@caption.command()
@RUN
@SPLIT
@MOVED_DATA
@decoding_options
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
    asked = _make_decoding(seed=seed, **options)
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        trained = training.load(run, console, device, data)
        _print_scores(trained, split, console, _decoding_of(trained, asked, seed))


@caption.command()
@SEED
@NEW_RUN
@device_option("cpu")  # so small a network keeps no GPU busy
def demo(seed: int, run: Path | None, device: Device) -> None:
    """Draw shapes, learn to describe them, and describe scenes never seen before."""
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        console.print(
            f"Drawing coloured shapes, or finding them in {SHAPES_FOLDER} ..."
        )
        settings = training.Settings(_data_folder(None), seed=seed, **training.DEMO)
        training.start(settings, run, console, _finish_in(console), device)


def _split_options(
    options: dict[str, Any], seed: int
) -> tuple[Decoding, dict[str, Any]]:
    """Tell how words are chosen from what the network learns by."""
    from apps.captioning.decode import Decoding

    names = ("how", "allow_unknown", *HEEDED_BY)
    decoding = _make_decoding(seed=seed, **{name: options.pop(name) for name in names})
    return decoding or Decoding(seed=seed), options


def _data_folder(data: Path | None) -> str:
    """The whole path, so that a run finds its data from any working folder."""
    from apps.captioning import shapes

    return str((shapes.ensure(SHAPES_FOLDER) if data is None else data).resolve())


def _finish_in(console: Console) -> Callable[[Trained, RunFolder], None]:
    """What is done with a trained captioner: score it, and show what it says."""

    def finish(trained: Trained, run: RunFolder) -> None:
        from apps.captioning import report

        decoding = _decoding_of(trained, None, None)
        seed = trained.settings.seed
        cards = _show_samples(trained, run.path, "val", 8, seed, console, decoding)
        scores = _print_scores(trained, "val", console, decoding)
        last = run.last_record(trained.settings.epochs)
        bleu = scores.captioner.bleu
        shares = {f"val_correct_{who}": s.correct for who, s in scores.shares.items()}
        run.log(epoch=last["epoch"], step=last["step"], val_bleu=bleu, **shares)
        page = report.write(
            run, "finished", trained=trained, cards=cards, scores=scores
        )
        say(f"The run is in {run.path}; its report: {page}", console)

    return finish


def _show_samples(
    trained: Trained,
    path: Path,
    split: str,
    count: int,
    seed: int,
    console: Console,
    decoding: Decoding,
) -> list[Card]:
    from apps.captioning import look
    from apps.captioning import sample as sampling

    chosen = getattr(trained.data, split)
    cards = sampling.draw_samples(trained, chosen, count, seed, decoding)
    sampling.print_samples(cards, console)
    if any(card.path and card.path.exists() for card in cards):
        look.save_cards(cards, path / "samples.png")
        console.print(f"Pictures with captions: {path / 'samples.png'}")
    return cards


def _print_scores(
    trained: Trained, split: str, console: Console, decoding: Decoding
) -> Scores:
    from apps.captioning.evaluate import evaluate

    chosen = getattr(trained.data, split)
    scores = evaluate(trained, chosen, decoding)
    own = scores.captioner
    lines = [
        f"unigram BLEU {own.bleu:.3f} "
        f"(one caption, said of every picture: {scores.constant.bleu:.3f})",
        "corpus "
        + ", ".join(f"BLEU-{n} {b:.3f}" for n, b in enumerate(own.corpus, 1))
        + " (each caption against all true ones of its picture)",
        f"{own.exact:.1%} of {scores.pictures} captions are word for word one of "
        "their picture's true ones",
    ]
    if trained.data.tokens == "char":
        lines.append(f"{own.invented:.1%} of the words said are in no training caption")
    for line in lines:
        console.print(f"{split}: {line}", highlight=False, soft_wrap=True)
    if scores.shares:
        _print_shares(scores, split, console)
    return scores


def _print_shares(scores: Scores, split: str, console: Console) -> None:
    """Say how many drawn scenes are captioned correctly, and by whom."""
    from rich.table import Table

    from apps.captioning.report import SPEAKERS

    kind = "Unseen" if split == "val" else "Training"
    table = Table("who speaks", title=f"{kind} scenes", title_justify="left")
    for heading in ("correct", "all named", "all true"):
        table.add_column(heading, justify="right")
    for who, share in scores.shares.items():
        columns = (share.correct, share.things, share.relation)
        table.add_row(SPEAKERS[who], *(f"{c:.1%}" for c in columns))
    console.print(table)
    unseen = " Training shows none of the combinations that they tell of."
    console.print(
        f"{scores.shares['captioner'].correct:.1%} of {scores.pictures} "
        f"{kind.lower()} scenes are captioned correctly: every thing's colour and "
        f"shape, and one true relation.{unseen if split == 'val' else ''}",
        highlight=False,
    )
