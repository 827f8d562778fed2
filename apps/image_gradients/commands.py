"""The commands that look into a network for pictures.

They import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.console import Group, new_console, say
from apps.image_gradients.settings import RECIPES, Fooling, Settings
from apps.options import FOLDER, SEED, device_option

if TYPE_CHECKING:
    from rich.console import Console

    from apps.image_gradients.pictures import Pictures
    from apps.image_gradients.squeezenet import SqueezeNet
    from minigrad import Device

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


@click.group(cls=Group, context_settings=options.HELP)
def look() -> None:
    """See what a network looks at, fool it, and draw what classes look like to it."""


@look.command()
@IMAGE
@WEIGHTS
@device_option()
def classify(images: tuple[Path, ...], weights: Path | None, device: Device) -> None:
    """Say what the network sees: the five likeliest classes of each picture."""
    from apps.image_gradients import looking

    console = new_console()
    pictures, network = _open(images, weights, device, console)
    for few, _ in looking.parts(pictures):
        shares = looking.certainty(network, few.x)
        looking.print_answers(few, shares, console)


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
@device_option()
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
    from apps.image_gradients.looking import Artist, parts

    console = new_console()
    number = _find(asked)
    pictures, network = _open(images, weights, device, console)
    drawn = [name for name in METHODS if name in (methods or METHODS)]
    folder = _folder(out, "saliency")
    artist = Artist(network, drawn, check, seed, console)
    for few, part in parts(pictures):
        page = artist.draw(few, part, number, folder)
        say(f"Figures are in {folder}; the page: {page}", console)


@look.command()
@IMAGE
@click.option(
    "--target", help="Name or id of what to see.  [default: another, at random]"
)
@click.option(
    "--smallest", is_flag=True, help="Change no pixel by more levels than it must."
)
@options.setting_options(Fooling)
@SEED
@WEIGHTS
@OUT
@device_option()
def fool(
    images: tuple[Path, ...],
    target: str | None,
    smallest: bool,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
    **more: Any,
) -> None:
    """Change pictures until the network sees something else in them."""
    if smallest:
        options.refuse_beside(more, "--smallest")
    way = Fooling(**options.given(more))
    how = {} if smallest else {"aim": way.aim, "rate": way.rate, "most": way.steps}
    from apps.image_gradients.looking import Trickster, parts

    console = new_console()
    number = _find(target)
    pictures, network = _open(images, weights, device, console)
    folder = _folder(out, "fool")
    trickster = Trickster(network, how, number, seed, console)
    for few, part in parts(pictures):
        trickster.fool(few, part, folder)
    trickster.tell()


@look.command()
@click.option(
    "--class",
    "asked",
    multiple=True,
    help="Name or id; may be given again.  [default: six, from tarantula to oboe]",
)
@click.option(
    "--recipe",
    type=click.Choice([*RECIPES]),
    default="course",
    show_default=True,
    help="Settings to begin with.",
)
@options.setting_options(Settings, "the recipe's")
@SEED
@WEIGHTS
@OUT
@device_option()
def visualize(
    asked: tuple[str, ...],
    recipe: str,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
    **more: Any,
) -> None:
    """Draw what classes look like to the network, from noise."""
    from apps.image_gradients import classes, gallery
    from apps.image_gradients import visualize as drawing
    from apps.image_gradients.looking import steps

    console = new_console()
    numbers = [classes.find(text) for text in asked] or drawing.CLASSES
    settings = replace(RECIPES[recipe], **options.given(more))
    network = _network(weights, device, console)
    folder = _folder(out, "visualize")
    count = settings.iterations
    shown = (1, *(max(1, count * quarter // 4) for quarter in (1, 2, 3, 4)))
    with steps(console, "drawing", count) as tell:
        drawn = drawing.visualize(
            network, numbers, settings, seed=seed, shown=shown, progress=tell
        )
    names = [gallery.named(number) for number in drawn.classes]
    gallery.save_all(folder, names, drawn.pixels)
    told = {name: str(value) for name, value in asdict(settings).items()}
    page = gallery.classes_page(folder, drawn, [*told.items(), ("seed", str(seed))])
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
) -> tuple[Pictures, SqueezeNet]:
    """Find pictures, read weights, and say what is done to them."""
    from apps.image_gradients.looking import steps
    from apps.image_gradients.pictures import Pictures, find, samples

    if images:
        with steps(console, "reading", None) as tell:
            pictures = find(images, progress=tell)
    else:
        pictures = Pictures.kept(samples())
    for name, notes in pictures.notes:
        for note in notes:
            say(f"{name}: {note}", console)
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


def _find(text: str | None) -> int | None:
    from apps.image_gradients.classes import find

    return None if text is None else find(text)


def _folder(out: Path | None, verb: str) -> Path:
    """A folder for results, made before any work, which it would cost if it failed."""
    from apps.image_gradients.gallery import clear
    from apps.run_folder import new_folder

    folder = out or new_folder(f"look-{verb}")
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    return folder
