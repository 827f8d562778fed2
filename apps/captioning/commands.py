"""What can one do with the captioner from the command line?

The commands import what they need when they run: `--help` answers at once, and the
command line can look which `minigrad` and `nn` Python finds before they are imported.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.captioning.data_commands import data as data_group
from apps.console import clear_errors, new_console

if TYPE_CHECKING:
    from rich.console import Console

    from apps.captioning.baselines import Shares
    from apps.captioning.decode import Decoding
    from apps.captioning.evaluate import Scores
    from apps.captioning.look import Card
    from apps.captioning.train import Settings, Trained
    from minigrad import Device

SHAPES_FOLDER = Path("runs/shapes")
FOLDER = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)
RUN = click.argument("run", type=FOLDER)
NEW_RUN = click.option(
    "--run", type=FOLDER, help="Folder for the results.  [default: runs/caption-TIME]"
)
SEED = click.option(
    "--seed", default=0, show_default=True, help="Same seed, same result."
)
SPLIT = click.option(
    "--split", type=click.Choice(["train", "val"]), default="val", show_default=True
)

# Weights, Adam's moments and a minibatch of the default size take far less.
GPU_MEMORY = 2**30  # bytes


class DeviceError(click.ClickException):
    """There is no such device; a wrong option, so the exit code is click's for one."""

    exit_code = 2


def _find_device(_: click.Context, __: click.Parameter, name: str) -> Device:
    """Find the device before any work is done."""
    import minigrad as mg

    try:
        return mg.device(name, memory=GPU_MEMORY)
    except (ValueError, RuntimeError) as error:
        raise DeviceError(str(error)) from error


def device_option(default: str) -> Any:
    """The option `--device`, a `minigrad.Device` by the time the command begins."""
    return click.option(
        "--device",
        default=default,
        show_default=True,
        callback=_find_device,
        help="cpu, cuda, cuda:N, or auto: the GPU with the most free memory, if any.",
    )


DECODING_OPTIONS = (
    click.option(
        "--how",
        type=click.Choice(["greedy", "sample", "beam"]),
        default="greedy",
        show_default=True,
        help="Choosing words: the likeliest next one; one drawn by its probability; "
        "or the likeliest whole caption that a search finds.",
    ),
    click.option(
        "--beam-size",
        type=POSITIVE,
        help="With --how beam: captions followed at once.  [default: 5]",
    ),
    click.option(
        "--length-penalty",
        type=click.FloatRange(0, 5),
        help="With --how beam: compare log-probability / words ** this; more than 0 "
        "favours longer captions.  [default: 0]",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(0, min_open=True),
        help="With --how sample: below 1 more cautious, above 1 more daring.  "
        "[default: 1]",
    ),
    click.option(
        "--top-k",
        type=POSITIVE,
        help="With --how sample: draw from this many likeliest words.  [default: all]",
    ),
    click.option(
        "--allow-unknown",
        is_flag=True,
        help="Let it choose <UNK>, which is then left out of the caption.",
    ),
)

# Which ways of choosing words heed an option.
HEEDED_BY = {
    "beam_size": "beam",
    "length_penalty": "beam",
    "temperature": "sample",
    "top_k": "sample",
}


def decoding_options(command: Any) -> Any:
    """Add the options that say how words are chosen."""
    for option in reversed(DECODING_OPTIONS):
        command = option(command)
    return command


def _make_decoding(how: str, seed: int, **options: Any) -> Decoding:
    """Check the options together; those that were not given keep their defaults."""
    from apps.captioning.decode import Decoding

    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        needed = HEEDED_BY.get(name, how)
        if needed != how:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} has no effect with --how {how}. Add --how {needed}, or "
                f"leave out {option}."
            )
    try:
        return Decoding(how=how, seed=seed, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _check_vocabulary(decoding: Decoding, trained: Trained) -> None:
    try:
        decoding.check_vocabulary(len(trained.data.vocabulary))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def caption() -> None:
    """Teach a recurrent network to describe pictures."""


caption.add_command(data_group)


@caption.command()
@click.option(
    "--data",
    type=FOLDER,
    help="Folder in the cs231n layout.  [default: shapes, drawn on first use]",
)
@click.option(
    "--cell",
    type=click.Choice(["rnn", "lstm", "gru"]),
    default="lstm",
    show_default=True,
    help="The recurrent layer.",
)
@click.option("--wordvec-dim", type=POSITIVE, default=256, show_default=True)
@click.option("--hidden-dim", type=POSITIVE, default=512, show_default=True)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of word vectors and outputs dropped in training.",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    default=2e-3,
    show_default=True,
    help="Adam's first learning rate; a cosine lowers it to 0.",
)
@click.option(
    "--batch", type=POSITIVE, default=64, show_default=True, help="Captions a step."
)
@click.option("--epochs", type=POSITIVE, default=12, show_default=True)
@SEED
@NEW_RUN
@click.option("--resume", type=FOLDER, help="Run folder to go on with.")
@device_option("auto")
def train(
    data: Path | None,
    run: Path | None,
    resume: Path | None,
    device: Device,
    **settings: Any,
) -> None:
    """Train a captioner, and score it once on the validation pictures."""
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        if resume is not None:
            _finish(training.resume(resume, console, device), resume, console)
            return
        made = training.Settings(data=_data_folder(data), **settings)
        _start(made, run, console, device)


@caption.command()
@RUN
@SPLIT
@click.option("--count", type=POSITIVE, default=8, show_default=True)
@decoding_options
@SEED
@device_option("auto")
def sample(
    run: Path, split: str, count: int, seed: int, device: Device, **options: Any
) -> None:
    """Show what a trained captioner says of some pictures.

    The seed chooses the pictures, and what is drawn with --how sample.
    """
    decoding = _make_decoding(seed=seed, **options)
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        trained = training.load(run, console, device)
        _check_vocabulary(decoding, trained)
        _show_samples(trained, run, split, count, seed, console, decoding)


@caption.command()
@RUN
@SPLIT
@decoding_options
@SEED
@device_option("auto")
def evaluate(run: Path, split: str, seed: int, device: Device, **options: Any) -> None:
    """Score a trained captioner by BLEU."""
    decoding = _make_decoding(seed=seed, **options)
    with clear_errors():
        from apps.captioning import train as training

        console = new_console()
        trained = training.load(run, console, device)
        _check_vocabulary(decoding, trained)
        _print_scores(trained, split, console, decoding)


@caption.command()
@SEED
@NEW_RUN
@device_option("cpu")  # so small a network keeps no GPU busy
def demo(seed: int, run: Path | None, device: Device) -> None:
    """Draw shapes, learn to describe them, and describe scenes never seen before."""
    with clear_errors():
        from apps.captioning import train as training
        from apps.run import new_path

        console = new_console()
        console.print(
            f"Drawing coloured shapes, or finding them in {SHAPES_FOLDER} ..."
        )
        folder = _data_folder(None)
        settings = training.Settings(data=folder, seed=seed, **training.DEMO)
        path = run or new_path("caption")
        trained = training.start(settings, path, console, device)
        _finish(trained, path, console, drawn=True)


def _print_shares(trained: Trained, path: Path, console: Console) -> dict[str, Shares]:
    """Say, and log, how many unseen scenes are captioned correctly, and by whom."""
    import numpy as np
    from rich.table import Table

    from apps.captioning import baselines
    from apps.captioning.report import SPEAKERS
    from apps.captioning.sample import describe
    from apps.run import RunFolder

    pictures = np.arange(len(trained.data.val.features))
    said = describe(trained, trained.data.val, pictures)
    shares = baselines.compare(trained.data, said)
    table = Table("who speaks", title="Unseen scenes", title_justify="left")
    for heading in ("correct", "all named", "all true"):
        table.add_column(heading, justify="right")
    for who, share in shares.items():
        columns = (share.correct, share.things, share.relation)
        table.add_row(SPEAKERS[who], *(f"{c:.1%}" for c in columns))
    console.print(table)
    console.print(
        f"{shares['captioner'].correct:.1%} of {len(trained.data.val.features)} unseen "
        "scenes are captioned correctly: every thing's colour and shape, and one true "
        "relation. Training shows none of the combinations that they tell of.",
        highlight=False,
    )
    run = RunFolder(path)
    last = run.metrics()[-1]
    scored = {f"val_correct_{who}": share.correct for who, share in shares.items()}
    run.log(epoch=last["epoch"], step=last["step"], **scored)
    return shares


def _data_folder(data: Path | None) -> str:
    """The whole path, so that a run finds its data from any working folder."""
    from apps.captioning import shapes

    return str((shapes.ensure(SHAPES_FOLDER) if data is None else data).resolve())


def _start(
    settings: Settings, run: Path | None, console: Console, device: Device
) -> None:
    from apps.captioning import train as training
    from apps.run import new_path

    path = run or new_path("caption")
    _finish(training.start(settings, path, console, device), path, console)


def _finish(
    trained: Trained | None, path: Path, console: Console, drawn: bool = False
) -> None:
    """Score and show a trained captioner, or say how to go on with a stopped one."""
    from apps.captioning import report
    from apps.run import RunFolder

    run = RunFolder(path)
    if trained is None:
        report.write(run, "stopped")
        console.print(
            f"Stopped and saved. To go on: minigrad caption train --resume {path}",
            soft_wrap=True,
        )
        raise SystemExit(128 + signal.SIGINT)
    cards = _show_samples(trained, path, "val", 8, trained.settings.seed, console)
    scores = _print_scores(trained, "val", console)
    last = run.metrics()[-1]
    run.log(epoch=last["epoch"], step=last["step"], val_bleu=scores.bleu)
    shares = _print_shares(trained, path, console) if drawn else None
    page = report.write(
        run, "finished", trained=trained, cards=cards, scores=scores, shares=shares
    )
    console.print(f"The run is in {path}; its report: {page}", soft_wrap=True)


def _show_samples(
    trained: Trained,
    path: Path,
    split: str,
    count: int,
    seed: int,
    console: Console,
    decoding: Decoding | None = None,
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
    trained: Trained, split: str, console: Console, decoding: Decoding | None = None
) -> Scores:
    from apps.captioning.evaluate import evaluate

    scores = evaluate(trained, getattr(trained.data, split), decoding)
    console.print(
        f"{split}: unigram BLEU {scores.bleu:.3f} "
        f"(the commonest caption, said every time: {scores.baseline:.3f}); "
        f"{scores.exact:.0%} of the captions are word for word among the true ones",
        highlight=False,
    )
    corpus = ", ".join(f"BLEU-{n} {b:.3f}" for n, b in enumerate(scores.corpus, 1))
    console.print(
        f"{split}: corpus {corpus} (each caption against all true ones of its picture)",
        highlight=False,
    )
    return scores
