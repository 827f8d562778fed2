"""How does a result become a page? Sections, tables, plots and cards in one HTML file.

A page loads nothing and runs nothing: its pictures are inside it, so that it can be
mailed as it is. What it holds is said in a tree of dataclasses, `Report` at its root;
the template beside this file says how that looks. Every text is shown as it is,
whatever characters it is made of.
"""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from PIL import Image

from apps.files import whole_file
from apps.printable import printable

State = Literal["training", "stopped", "finished"]
Metrics = Sequence[Mapping[str, Any]]

REFRESH = 10  # seconds until a page about something unfinished looks for news

LARGEST = 512  # pixels a side of a picture on a card; a larger one is made smaller
# Pictures up to this size are kept to the pixel, and enlarged without being blurred.
SMALL = 128  # pixels a side

PLOT_SIZE = (6.0, 3.4)  # inches; so small that its letters can be read on a phone
PLOT_BOX = (0.14, 0.16, 0.84, 0.8)  # left, bottom, width, height: shares of the figure
PLOT_DPI = 160

# Told apart by the colour-blind too; the markers tell curves apart without colour.
# Source: Okabe and Ito, Color universal design (2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
MARKERS = "os^Dv"

MOST_DRAWN = 1e100

NUMBER = re.compile(r"[-+−]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?( ?%)?|nan|[-+−]?inf|–?")

# What a line of a run's metrics holds besides what is worth a curve.
NO_SCORES = ("epoch", "step", "per_second", "start_loss")
# A loss that ends above this share of what it began with has ended where it began.
NOTHING_LEARNED = 0.99
CURVE_NAMES = {"loss": "training loss", "val_loss": "validation loss"}


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first text of a row names it, and its note explains it.

    A column in which every text is a number is set to the right.
    Raises: ValueError if the rows differ in length, or a row has no note.
    """

    kind: ClassVar[str] = "table"
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        lengths = {len(row) for row in (self.heading, *self.rows) if row}
        if len(lengths) > 1:
            raise ValueError(
                f"the rows of a table have {sorted(lengths)} texts; give each row, and "
                "the heading if there is one, as many as the others."
            )
        if self.notes and len(self.notes) != len(self.rows):
            raise ValueError(
                f"a table of {len(self.rows)} rows has {len(self.notes)} notes; give "
                "one note a row, an empty one where there is nothing to explain."
            )

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers only."""
        columns = zip(*self.rows, strict=True)
        return [all(map(NUMBER.fullmatch, column)) for column in columns]


@dataclass(frozen=True)
class Plot:
    """A figure, which is also written as `NAME.png` beside the page.

    `alt` says in words what is to be seen, for those who cannot see it.
    """

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
    """Texts on a card under one label; `strong` sets them off from the others.

    `verdict` says in words how good they are, and `good` which of two marks it gets.
    """

    label: str
    texts: Sequence[str]
    strong: bool = False
    verdict: str = ""
    good: bool = False


@dataclass(frozen=True)
class Card:
    """A picture with texts below it; `placeholder` stands where there is no picture.

    `address` is where the picture came from, if that is known.
    """

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
        if self.picture is None:
            raise ValueError("a card without a picture has none to embed.")
        file = io.BytesIO()
        shown = self.picture.convert("RGB")
        shown.thumbnail((LARGEST, LARGEST))
        if self.is_small:
            shown.save(file, "PNG")
            return _data_uri(file.getvalue(), "image/png")
        shown.save(file, "JPEG", quality=85)
        return _data_uri(file.getvalue(), "image/jpeg")


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
    """A page: its title, what it is about, how things stand, the figures that matter.

    `facts` are pairs of what is counted and how much it is. With `refresh`, the page
    looks for news every so many seconds.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    status: str = ""
    facts: Sequence[tuple[str, str]] = ()
    refresh: int | None = None

    @property
    def plots(self) -> Iterator[Plot]:
        """Every plot of every section."""
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, Plot))


def render(report: Report) -> str:
    """Make the page, as HTML."""
    return _template().render(report=report)


def write(report: Report, path: Path) -> None:
    """Write a page and, beside it, its plots as PNG; each file whole or not at all.

    Raises: ValueError if two plots have one name.
    """
    plots = list(report.plots)
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


def png(figure: Figure, dpi: int) -> bytes:
    """Draw a figure on white paper, every text in it as it is.

    A dollar sign begins no formula, control characters are escapes, and a letter that
    the font lacks is a box; a page has them all.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return file.getvalue()


# -- what the reports of all runs have in common -----------------------------------


def status(state: State, metrics: Metrics, epochs: int) -> str:
    """Say how far a run is, as of now."""
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    done = max((record["epoch"] for record in metrics), default=0)
    if state == "finished":
        return f"finished on {now}, after {epochs} epochs"
    if state == "stopped":
        return f"stopped on {now}: {done} of {epochs} epochs are done"
    return f"training: {done} of {epochs} epochs are done, as of {now}"


def training_facts(metrics: Metrics, unit: str) -> list[tuple[str, str]]:
    """The last loss, and how many units a second were learned from."""
    facts = []
    losses = [record["loss"] for record in metrics if "loss" in record]
    if losses:
        facts.append(("training loss", f"{losses[-1]:.3g}"))
    speeds = [record["per_second"] for record in metrics if "per_second" in record]
    if speeds:
        facts.append((f"{unit} a second in training", f"{speeds[-1]:,.0f}"))
    return facts


def learned_nothing(metrics: Metrics) -> str:
    """Say so if the loss ended where it began, going by what a run logged; else ""."""
    starts = [record["start_loss"] for record in metrics if "start_loss" in record]
    losses = [record["loss"] for record in metrics if "loss" in record]
    if not starts or not losses or losses[-1] < NOTHING_LEARNED * starts[0]:
        return ""
    return (
        f"The loss ended at {losses[-1]:.3g}, where it began ({starts[0]:.3g}): "
        "nothing was learned. Try a smaller --lr in a new run, or more --epochs."
    )


def learning(metrics: Metrics, epochs: int, targets: str) -> Section:
    """The curves of what was logged."""
    text = (
        f"The loss says how unlikely the network finds {targets}; learning lowers it. "
        "Each point is the mean over one epoch."
    )
    plots = plot_run(metrics, epochs)
    if not plots:
        text = "The first epoch is not over yet; the loss curve begins with it."
    text = f"{text} {learned_nothing(metrics)}".strip()
    return Section("How it learned", text, plots)


def settings(
    config: Mapping[str, Any], meanings: Mapping[str, str], sizes: str
) -> Section:
    """A run's settings, each with what it means."""
    rows = [(name, str(value)) for name, value in config.items()]
    notes = [meanings.get(name, "") for name in config]
    return Section("Settings", sizes, [Table(("setting", "value"), rows, notes)])


def plot_run(metrics: Metrics, epochs: int) -> list[Plot]:
    """Plot what a run logged at its epochs: its losses, and its scores if it has any.

    A score that was logged at one epoch only is no curve.
    """
    names = dict.fromkeys(name for record in metrics for name in record)
    curves = {name: _curve(metrics, name) for name in names if name not in NO_SCORES}
    losses = {n: xy for n, xy in curves.items() if xy and n.endswith("loss")}
    scores = {n: xy for n, xy in curves.items() if n not in losses and len(xy) > 1}
    plots = [
        _plot("loss", "loss", losses, epochs, "Less is better."),
        _plot("scores", "score", scores, epochs, "More is better."),
    ]
    return [plot for plot in plots if plot is not None]


def _curve(metrics: Metrics, name: str) -> dict[int, float]:
    """What was logged under a name, by epoch; the last of several.

    What is not finite, or too far off to be drawn, is a gap.
    """
    found = {r["epoch"]: r[name] for r in metrics if name in r}
    return {
        epoch: value if abs(value) < MOST_DRAWN else math.nan
        for epoch, value in found.items()
        if isinstance(value, int | float)
    }


def _plot(
    name: str,
    axis_label: str,
    curves: Mapping[str, Mapping[int, float]],
    epochs: int,
    note: str,
) -> Plot | None:
    if not curves:
        return None
    # Margins with room for six digits; a layout engine would draw everything twice.
    figure = Figure(figsize=PLOT_SIZE)
    axis = figure.add_axes(PLOT_BOX)
    for number, (curve, points) in enumerate(curves.items()):
        axis.plot(
            [*points.keys()],
            [*points.values()],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, len(points) // 12),
            label=_curve_name(curve),
        )
    axis.set_xlabel("epoch (once through the training data)", fontsize=11)
    axis.set_ylabel(axis_label, fontsize=11)
    # The whole way, so that the eye sees how much of it is done.
    axis.set_xlim(0.5, max(epochs, *map(max, curves.values())) + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.tick_params(labelsize=11)
    axis.grid(color="#dddddd")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=11)
    return Plot(name, figure, _told(curves), note)


def _curve_name(name: str) -> str:
    return CURVE_NAMES.get(name, name.replace("val_", "validation ").replace("_", " "))


def _told(curves: Mapping[str, Mapping[int, float]]) -> str:
    """Curves in words."""
    told = []
    for name, points in curves.items():
        (first, start), (last, end) = (min(points.items()), max(points.items()))
        told.append(
            f"{_curve_name(name)}: {start:.3g} after epoch {first}, "
            f"{end:.3g} after epoch {last}"
        )
    return "; ".join(told)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


@cache
def _template() -> Template:
    source = resources.files("apps").joinpath("report.html.jinja")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(source.read_text(encoding="utf-8"))
