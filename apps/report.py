"""Pages: sections, tables, plots and cards in one HTML file.

A page loads nothing and runs nothing: its pictures are inside it. What it holds is a
tree of dataclasses, `Report` at its root; how that looks, the template beside this file
says. Every text is shown as it is, whatever characters it is made of.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, ClassVar
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from apps.files import whole_file
from apps.printable import printable
from apps.tables import Table

LARGEST = 512  # pixels a side of a picture on a card; a larger one is made smaller
# Pictures up to this size are kept to the pixel, and enlarged without being blurred.
SMALL = 128  # pixels a side

PLOT_DPI = 160

# Told apart by the colour-blind too; the markers tell curves apart without colour.
# Source: Okabe and Ito, Color universal design (2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
MARKERS = "os^Dv"

TEMPLATE = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
).from_string(resources.files("apps").joinpath("report.html.jinja").read_text("utf-8"))


@dataclass(frozen=True)
class Plot:
    """A figure, also written as `NAME.png` beside the page; `alt` describes it."""

    kind: ClassVar[str] = "plot"
    name: str
    figure: Figure
    alt: str
    note: str = ""

    @cached_property
    def png(self) -> bytes:
        """The figure as a file."""
        return png(self.figure, PLOT_DPI)

    @property
    def uri(self) -> str:
        """The figure as an address that holds it."""
        return _data_uri(self.png, "image/png")


@dataclass(frozen=True)
class Texts:
    """Texts on a card under one label; `verdict` says in words how `good` they are."""

    label: str
    texts: Sequence[str]
    strong: bool = False
    verdict: str = ""
    good: bool = False


@dataclass(frozen=True)
class Card:
    """A picture with texts below it, where it came from, and what stands for it."""

    name: str
    picture: Image.Image | None
    alt: str
    texts: Sequence[Texts] = ()
    address: str = ""
    placeholder: str = "no picture"

    @property
    def is_address(self) -> bool:
        """Whether the address is one that a page may lead to."""
        try:
            return urlsplit(self.address).scheme in ("http", "https")
        except ValueError:
            return False

    @property
    def is_small(self) -> bool:
        """Whether the picture is shown pixel by pixel."""
        return self.picture is not None and max(self.picture.size) <= SMALL

    @cached_property
    def uri(self) -> str:
        """The picture as an address that holds it."""
        assert self.picture is not None
        file = io.BytesIO()
        shown = self.picture.convert("RGB")
        shown.thumbnail((LARGEST, LARGEST))
        kind = "png" if self.is_small else "jpeg"
        shown.save(file, kind, quality=85)  # of JPEG; PNG has none
        return _data_uri(file.getvalue(), f"image/{kind}")


@dataclass(frozen=True)
class Gallery:
    """Cards side by side, as many as the screen is wide."""

    kind: ClassVar[str] = "gallery"
    cards: Sequence[Card]

    @property
    def ratio(self) -> float:
        """Width by height of the frames: that of most pictures, within reason."""
        sizes = [card.picture.size for card in self.cards if card.picture]
        usual = median(width / height for width, height in sizes) if sizes else 4 / 3
        return round(min(max(usual, 0.75), 1.5), 3)


@dataclass(frozen=True)
class Command:
    """A line to type in a terminal."""

    kind: ClassVar[str] = "command"
    text: str


Block = Table | Plot | Gallery | Command


@dataclass(frozen=True)
class Section:
    """A part of a report: a heading, a paragraph, and what there is to see."""

    heading: str
    text: str = ""
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Report:
    """A page: its title, a lead, a status, key figures and sections.

    `facts` are pairs of a label and a figure, `others` of a related page's name and
    file. With `refresh`, the page reloads itself every so many seconds.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    status: str = ""
    facts: Sequence[tuple[str, str]] = ()
    others: Sequence[tuple[str, str]] = ()
    refresh: int | None = None


def render(report: Report) -> str:
    """Make the page, as HTML."""
    return TEMPLATE.render(report=report)


def write(report: Report, path: Path) -> None:
    """Write a page and its plots, each file whole or not at all.

    Raises: ValueError if two plots have one name.
    """
    blocks = [block for section in report.sections for block in section.blocks]
    plots = [block for block in blocks if isinstance(block, Plot)]
    names = [plot.name for plot in plots]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two plots have one name among {names}; name each differently."
        )
    # A lone surrogate, as in a broken file name, has no UTF-8.
    page = render(report).encode("utf-8", "replace")
    for plot in plots:
        with whole_file(path.with_name(f"{plot.name}.png")) as unfinished:
            unfinished.write_bytes(plot.png)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(page)


def draw_curves(axis: Axes, curves: Mapping[str, Mapping[float, float]]) -> None:
    """Draw a curve of each name's values by place, told apart by colour and marker."""
    looks = cycle(zip(COLOURS, MARKERS, strict=True))
    for (name, points), (colour, marker) in zip(curves.items(), looks, strict=False):
        every = max(1, len(points) // 12)
        look: Any = {"color": colour, "marker": marker, "markevery": every}
        axis.plot([*points], [*points.values()], label=name, **look)
    axis.grid(color="#dddddd")
    axis.spines[["top", "right"]].set_visible(False)


def png(figure: Figure, dpi: int) -> bytes:
    """Render a figure on white, every text in it literally, if it is printable."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
