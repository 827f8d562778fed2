"""The commands that look into a network for pictures.

They import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apps import options
from apps.console import Group, clear_errors, new_console, say
from apps.image_gradients.settings import RECIPES, Fooling, Settings
from apps.options import FOLDER, SEED, device_option

if TYPE_CHECKING:
    from rich.console import Console

    from apps.image_gradients.looking import Looker
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


class ClassName(click.ParamType):
    """A class of ImageNet, by a name or its id; a number by the time of the command."""

    name = "class"

    def convert(self, value: Any, *_: object) -> int:
        """Find the class."""
        from apps.image_gradients.classes import find

        with clear_errors():
            return find(value)


@click.group(cls=Group, context_settings=options.HELP)
def look() -> None:
    """See what a network looks at, fool it, and draw what classes look like to it."""


@look.command()
@IMAGE
@WEIGHTS
@device_option()
def classify(**given: Any) -> None:
    """Say what the network sees: the five likeliest classes of each picture."""
    _open("", **given).classify()


@look.command()
@IMAGE
@click.option(
    "--class",
    "asked",
    type=ClassName(),
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
def saliency(methods: tuple[str, ...], check: bool, **given: Any) -> None:
    """Draw which pixels a class's score depends on, in one way or several."""
    drawn = [name for name in METHODS if name in (methods or METHODS)]
    _open("saliency", **given).draw(drawn, check)


@look.command()
@IMAGE
@click.option(
    "--target",
    "asked",
    type=ClassName(),
    help="Name or id of what to see.  [default: another, at random]",
)
@click.option(
    "--smallest", is_flag=True, help="Change no pixel by more levels than it must."
)
@options.setting_options(Fooling)
@SEED
@WEIGHTS
@OUT
@device_option()
def fool(smallest: bool, aim: Any, rate: Any, steps: Any, **given: Any) -> None:
    """Change pictures until the network sees something else in them."""
    how = {"aim": aim, "rate": rate, "steps": steps}
    if smallest:
        options.refuse_beside(how, "--smallest")
    settings = Fooling(**options.given(how))
    _open("fool", **given).fool(None if smallest else settings)


@look.command()
@click.option(
    "--class",
    "asked",
    type=ClassName(),
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
    asked: tuple[int, ...],
    recipe: str,
    seed: int,
    weights: Path | None,
    out: Path | None,
    device: Device,
    **more: Any,
) -> None:
    """Draw what classes look like to the network, from noise."""
    from apps.image_gradients import gallery
    from apps.image_gradients import visualize as drawing
    from apps.image_gradients.looking import steps

    console = new_console()
    classes = asked or drawing.CLASSES
    settings = replace(RECIPES[recipe], **options.given(more))
    network = _network(weights, device, console)
    folder = _folder(out, "visualize")
    count = settings.iterations
    shown = (1, *(max(1, count * quarter // 4) for quarter in (1, 2, 3, 4)))
    with steps(console, "drawing", count) as tell:
        drawn = drawing.visualize(
            network, classes, settings, seed=seed, shown=shown, progress=tell
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
    verb: str,
    images: tuple[Path, ...],
    weights: Path | None,
    device: Device,
    asked: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> Looker:
    from apps.image_gradients.looking import Looker, steps
    from apps.image_gradients.pictures import Pictures, find, samples

    console = new_console()
    if images:
        with steps(console, "reading", None) as tell:
            pictures = find(images, progress=tell)
    else:
        pictures = Pictures.kept(samples())
    for name, notes in pictures.notes:
        for note in notes:
            say(f"{name}: {note}", console)
    network = _network(weights, device, console)
    folder = _folder(out, verb) if verb else Path()
    return Looker(network, pictures, console, folder, asked, seed)


def _network(weights: Path | None, device: Device, console: Console) -> SqueezeNet:
    import minigrad as mg
    from apps.app import tell
    from apps.image_gradients.gradients import frozen
    from apps.image_gradients.squeezenet import SqueezeNet
    from apps.image_gradients.weights import load

    mg.keep_memory()
    network = SqueezeNet()
    what = load(network, weights)
    say(f"weights: {what}", console)
    tell(device, console)
    return frozen(network.to(device))


def _folder(out: Path | None, verb: str) -> Path:
    """A folder for results, made before any work, which it would cost if it failed."""
    from apps.image_gradients.gallery import clear
    from apps.run_folder import new_folder

    folder = out or new_folder(f"look-{verb}")
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    return folder
