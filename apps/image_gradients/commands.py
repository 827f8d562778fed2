"""What can one ask about what a network sees, from the command line?

The commands import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps.console import Group, clear_errors, new_console, say
from apps.options import (
    FOLDER,
    POSITIVE,
    SEED,
    Number,
    device_option,
    setting_options,
)

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from apps.image_gradients.fool import Fooled
    from apps.image_gradients.pictures import Picture
    from apps.image_gradients.saliency import Attribution
    from apps.image_gradients.squeezenet import SqueezeNet
    from minigrad import Device


# A step over the whole of a picture, from black to white, is 1,700 long.
RATE = Number(0, 10_000, min_open=True)
STEPS = click.IntRange(0, 10_000)
METHODS = ("gradient", "smoothgrad", "integrated", "grad-cam")
IMAGE = click.option(
    "--image",
    "images",
    type=FOLDER,
    multiple=True,
    help="A picture, a folder of them, or an .npz; may be given again.  "
    "[default: photos that come with scikit-image]",
)
WEIGHTS = click.option(
    "--weights",
    type=FOLDER,
    help="The network's weights: .pth, .safetensors or .npz.  [default: what is found]",
)
OUT = click.option(
    "--out", type=FOLDER, help="Folder for the results.  [default: runs/look-...-TIME]"
)

# Of a recipe: name, kind, help.
SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("iterations", POSITIVE, "Steps to take."),
    ("l2", Number(0, 1000), "How strongly pixels are drawn to the mean colour."),
    ("rate", RATE, "Length of a step."),
    ("jitter", STEPS, "Pixels that a picture is moved by at most."),
    ("blur", Number(0, 20), "Deviation of the filter, in pixels."),
    ("every", POSITIVE, "Steps from one filtering to the next."),
    ("ending", STEPS, "Last steps, which lead away from other classes."),
    ("start", Number(0, 20), "Blur of the noise to begin with, in pixels."),
    ("smooth", Number(0, 20), "Blur of the gradient that joins it, pixels."),
    ("shrink", Number(0, 1), "Share of step and blur left at the end."),
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def look() -> None:
    """See what a network looks at, fool it, and draw what classes look like to it."""


@look.command()
@IMAGE
@WEIGHTS
@device_option("auto")
def classify(images: tuple[Path, ...], weights: Path | None, device: Device) -> None:
    """Say what the network sees: the five likeliest classes of each picture."""
    with clear_errors():
        console = new_console()
        pictures, network = _open(images, weights, device, console)
        _print_answers(pictures, _shares(network, pictures), console)


@look.command()
@IMAGE
@click.option(
    "--class",
    "asked",
    help="Name or id of the class to ask for.  [default: a picture's own, if that is "
    "known, else the likeliest]",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    help="How to draw the map; may be given again.  [default: all]",
)
@click.option(
    "--check", is_flag=True, help="Compare with maps of networks with random weights."
)
@SEED
@WEIGHTS
@OUT
@device_option("auto")
def saliency(
    images: tuple[Path, ...],
    asked: str | None,
    methods: tuple[str, ...],
    check: bool,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
) -> None:
    """Draw which pixels a class's score depends on, in one way or several."""
    with clear_errors():
        from apps.image_gradients import gallery

        console = new_console()
        number = _find(asked)
        pictures, network = _open(images, weights, device, console)
        shares = _shares(network, pictures)
        classes = _classes(pictures, shares, number)
        drawn = [name for name in METHODS if name in (methods or METHODS)]
        maps, attribution = _maps(network, pictures, classes, drawn, seed, console)
        checked = _checked(network, pictures, classes, seed, console) if check else []
        _print_answers(pictures, shares, console)
        folder = _folder(out, "saliency")
        page = gallery.saliency_page(
            folder, pictures, classes, shares, maps, attribution, checked
        )
        say(f"Figures are in {folder}; the page: {page}", console)


@look.command()
@IMAGE
@click.option(
    "--target", help="Name or id of what to see.  [default: another, at random]"
)
@click.option(
    "--smallest", is_flag=True, help="Change no pixel by more levels than it must."
)
@click.option(
    "--aim",
    type=click.Choice(["lead", "score"]),
    default="lead",
    show_default=True,
    help="Climb the target's lead over all others, or its score alone.",
)
@click.option(
    "--rate",
    type=RATE,
    default=1.0,
    show_default=True,
    help="Length of a step.",
)
@click.option(
    "--steps", type=POSITIVE, default=100, show_default=True, help="Steps at most."
)
@SEED
@WEIGHTS
@OUT
@device_option("auto")
def fool(
    images: tuple[Path, ...],
    target: str | None,
    smallest: bool,
    aim: str,
    rate: float,
    steps: int,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
) -> None:
    """Change pictures until the network sees something else in them."""
    if smallest:
        _refuse("--smallest", "aim", "rate", "steps")
    with clear_errors():
        console = new_console()
        number = _find(target)
        pictures, network = _open(images, weights, device, console)
        shares = _shares(network, pictures)
        targets = _targets(pictures, shares, number, seed)
        how: dict[str, Any] = {"aim": aim, "rate": rate, "most": steps}
        pixels = _pixels(pictures)
        fooled = _fooled(network, pixels, targets, {} if smallest else how, console)
        _tell_fooled(network, pictures, fooled, shares, _folder(out, "fool"), console)


@look.command()
@click.option(
    "--class",
    "asked",
    multiple=True,
    help="Name or id; may be given again.  [default: six, from tarantula to oboe]",
)
@click.option(
    "--recipe",
    type=click.Choice(["course", "vivid"]),
    default="course",
    show_default=True,
    help="Settings to begin with.",
)
@setting_options(SETTINGS)
@SEED
@WEIGHTS
@OUT
@device_option("auto")
def visualize(
    asked: tuple[str, ...],
    recipe: str,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
    **options: Any,
) -> None:
    """Draw what classes look like to the network, from noise."""
    with clear_errors():
        from apps.image_gradients import classes, gallery
        from apps.image_gradients import visualize as drawing

        console = new_console()
        numbers = [classes.find(text) for text in asked] or drawing.CLASSES
        given = {key: value for key, value in options.items() if value is not None}
        settings = replace(drawing.RECIPES[recipe], **given)
        network = _network(weights, device, console)
        count = settings.iterations
        shown = (1, *(max(1, count * quarter // 4) for quarter in (1, 2, 3, 4)))
        with _steps(console, "drawing", count) as tell:
            drawn = drawing.visualize(
                network, numbers, settings, seed=seed, shown=shown, progress=tell
            )
        folder = _folder(out, "visualize")
        names = [gallery.named(number) for number in drawn.classes]
        gallery.save_all(folder, names, drawn.pixels)
        told = [(key, str(value)) for key, value in asdict(settings).items()]
        page = gallery.classes_page(folder, drawn, [*told, ("seed", str(seed))])
        for name, share in zip(names, drawn.certainty, strict=True):
            say(f"{name}: {share:.1%} sure, of what was saved", console)
        say(f"Pictures are in {folder}; the page: {page}", console)


@look.command()
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
def download(folder: Path | None) -> None:
    """Fetch torchvision's weights and 25 pictures of ImageNet (9 MB in all).

    They go into DIR (data/look), are checked against size and sha256, and are found
    there. Ctrl-C keeps what has come, and the same command goes on with it.
    """
    with clear_errors():
        from apps.download import download_file, stoppable
        from apps.image_gradients.catalogue import FILES, FOLDER, LICENCE, PICTURES

        console = new_console()
        place = folder or FOLDER
        with stoppable(console):
            for file in FILES:
                download_file(file, place, console)
        say(LICENCE, console)
        say(f"To look: minigrad look saliency --image {place / PICTURES.name}", console)


# -- what the commands share -------------------------------------------------------


def _open(
    images: tuple[Path, ...], weights: Path | None, device: Device, console: Console
) -> tuple[list[Picture], SqueezeNet]:
    """Read pictures and weights, and say what was done to them."""
    from apps.image_gradients.pictures import read_many, samples

    pictures = read_many(images) if images else samples()
    for picture in pictures:
        for note in picture.notes:
            say(f"{picture.name}: {note}", console)
    return pictures, _network(weights, device, console)


def _network(weights: Path | None, device: Device, console: Console) -> SqueezeNet:
    import minigrad as mg
    from apps.image_gradients.gradients import frozen
    from apps.image_gradients.squeezenet import SqueezeNet
    from apps.image_gradients.weights import load

    mg.keep_memory()
    network = SqueezeNet()
    what = load(network, weights)
    say(f"weights: {what}", console)
    say(f"device: {device} ({device.reason})", console)
    return frozen(network.to(device))


def _pixels(pictures: list[Picture]) -> np.ndarray:
    import numpy as np

    return np.stack([picture.pixels for picture in pictures])


def _shares(network: SqueezeNet, pictures: list[Picture]) -> np.ndarray:
    """How sure the network is of each class. Shapes: -> (N, K)."""
    from apps.image_gradients.gradients import probabilities, scores_of
    from apps.image_gradients.pictures import normalize

    return probabilities(scores_of(network, normalize(_pixels(pictures))))


def _find(text: str | None) -> int | None:
    from apps.image_gradients.classes import find

    return None if text is None else find(text)


def _classes(
    pictures: list[Picture], shares: np.ndarray, number: int | None
) -> np.ndarray:
    """The class to ask for: what was given, else the true one, else the likeliest."""
    import numpy as np

    likeliest = shares.argmax(axis=1)
    own = [
        int(best) if picture.label is None else picture.label
        for picture, best in zip(pictures, likeliest, strict=True)
    ]
    return np.array(own) if number is None else np.full(len(own), number)


def _targets(
    pictures: list[Picture], shares: np.ndarray, number: int | None, seed: int
) -> np.ndarray:
    from apps.image_gradients.fool import other_classes

    if number is not None:
        return _classes(pictures, shares, number)
    return other_classes(shares.argmax(axis=1), shares.shape[1], seed)


def _maps(
    network: SqueezeNet,
    pictures: list[Picture],
    classes: np.ndarray,
    methods: list[str],
    seed: int,
    console: Console,
) -> tuple[dict[str, np.ndarray], Attribution | None]:
    """Draw maps; of integrated gradients what belongs to the map, too."""
    import minigrad as mg
    from apps.image_gradients import saliency as ways
    from apps.image_gradients.pictures import normalize

    x = normalize(_pixels(pictures))
    maps = {}
    attribution = None
    for name in methods:
        say(f"{name} ...", console)
        if name == "integrated":
            attribution = ways.integrated_gradients(network, x, classes)
            maps[name] = attribution.map
        elif name == "smoothgrad":
            generator = mg.Generator(seed)
            maps[name] = ways.smooth_grad(network, x, classes, generator=generator)
        else:
            maps[name] = ways.METHODS[name](network, x, classes)
    return maps, attribution


def _checked(
    network: SqueezeNet,
    pictures: list[Picture],
    classes: np.ndarray,
    seed: int,
    console: Console,
) -> list[tuple[str, dict[str, float]]]:
    import minigrad as mg
    from apps.image_gradients.pictures import normalize
    from apps.image_gradients.saliency import CHECKED, sanity_check

    return sanity_check(
        network,
        normalize(_pixels(pictures)),
        classes,
        CHECKED,
        mg.Generator(seed),
        lambda layer: say(f"check: weights are random from {layer} on", console),
    )


def _fooled(
    network: SqueezeNet,
    pixels: np.ndarray,
    targets: np.ndarray,
    how: dict[str, Any],
    console: Console,
) -> Fooled:
    """Fool the network in a given way, or, if none is given, by the smallest change."""
    from apps.image_gradients import fool as ways

    count = how["most"] if how else ways.TRIES * ways.LEVELS
    with _steps(console, "fooling", count) as tell:
        if how:
            return ways.fool(network, pixels, targets, progress=tell, **how)
        return ways.smallest_change(network, pixels, targets, progress=tell)


def _tell_fooled(
    network: SqueezeNet,
    pictures: list[Picture],
    fooled: Fooled,
    before: np.ndarray,
    folder: Path,
    console: Console,
) -> None:
    """Save what fools the network, read it back, and say whether it still does."""
    import numpy as np

    from apps.image_gradients import gallery
    from apps.image_gradients.pictures import read

    names = [picture.name for picture in pictures]
    paths = gallery.save_all(folder, names, fooled.after)
    after = _shares(network, [read(path) for path in paths])
    page = gallery.fooling_page(folder, pictures, fooled, before, after)
    for i, name in enumerate(names):
        line = f"{name}: {_likeliest(before[i])} -> {_likeliest(after[i])}, "
        taken = f"{fooled.steps[i]} steps, at most {fooled.levels[i]}/255"
        say(line + taken, console)
    answers = after.argmax(axis=1)
    right = int((answers == fooled.targets).sum())
    say(
        f"{right} of {len(names)} fool the network when they are read back; median "
        f"change at most {np.median(fooled.levels):g}/255",
        console,
    )
    say(f"Pictures are in {folder}; the page: {page}", console)


def _likeliest(shares: np.ndarray) -> str:
    """What the network sees in one picture, and how sure it is."""
    from apps.image_gradients.gallery import named

    number = int(shares.argmax())
    return named(number, shares[number])


def _print_answers(
    pictures: list[Picture], shares: np.ndarray, console: Console
) -> None:
    from rich.table import Table

    from apps.image_gradients.gallery import best

    table = Table("picture", "the network sees")
    table.add_column("certainty", justify="right")
    for picture, of in zip(pictures, shares, strict=True):
        table.add_section()
        for place, (name, share) in enumerate(best(of)):
            first = picture.name if place == 0 else ""
            table.add_row(first, name, f"{share:.1%}")
    console.print(table)


def _folder(out: Path | None, verb: str) -> Path:
    from apps.run_folder import new_folder

    return out or new_folder(f"look-{verb}")


def _refuse(option: str, *others: str) -> None:
    """Make sure that nothing is asked for which an option does not heed."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    for name in others:
        if context.get_parameter_source(name) == given:
            raise click.UsageError(
                f"--{name} has no effect with {option}. Leave one of them out."
            )


@contextmanager
def _steps(console: Console, what: str, count: int) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, to be told of each step, and perhaps how much is left."""
    from rich.progress import Progress

    with Progress(
        console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=count)

        def tell(step: int, left: int | None = None) -> None:
            text = what if left is None else f"{what}, {left} left"
            bar.update(task, completed=step, description=text)

        yield tell
