"""Figures of results: panels in rows, each with a caption.

Maps that have one sign are drawn in magma, maps of both signs from orange over white to
purple: both keep their order in grey, and for those who do not tell red from green.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apps.report import draw_curves

SIDE = 1.75  # inches a panel
MARGIN = 0.08  # inches around a panel
LINE = 0.17  # inches a line of text
LETTERS = 20  # in a line above a panel
LABEL = 0.3  # inches for what names a row
FONT = 9.5  # points

# What is brighter than all but so many of 1,000 pixels is drawn as bright as can be.
CLIPPED = 5


@dataclass(frozen=True)
class Panel:
    """A picture (H, W, 3) uint8 or a map (H, W) of floats, and the text above it."""

    image: np.ndarray
    caption: str = ""

    @property
    def lines(self) -> list[str]:
        """The caption, so that it fits above the panel."""
        parts = [shorten(text, 2 * LETTERS) for text in self.caption.split("\n")]
        return [line for part in parts for line in wrap(part, LETTERS)]


def draw(rows: Sequence[Sequence[Panel]], labels: Sequence[str] = ()) -> Figure:
    """Draw rows of panels, each row with what names it on its left."""
    heights = [max(len(panel.lines) for panel in row) * LINE for row in rows]
    columns = max(map(len, rows))
    left = LABEL if any(labels) else 0.0
    width = left + columns * (SIDE + MARGIN) + MARGIN
    height = sum(heights) + len(rows) * (SIDE + 2 * MARGIN) + MARGIN
    figure = Figure(figsize=(width, height))
    top = height
    for number, row in enumerate(rows):
        top -= heights[number] + MARGIN
        bottom = top - SIDE
        for column, panel in enumerate(row):
            start = left + MARGIN + column * (SIDE + MARGIN)
            box = (start / width, bottom / height, SIDE / width, SIDE / height)
            _draw_panel(figure.add_axes(box), panel)
        if labels:
            place = left / 2 / width, (bottom + SIDE / 2) / height
            style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center"}
            figure.text(*place, labels[number], fontsize=FONT + 1, **style)
        top = bottom - MARGIN
    return figure


def _draw_panel(axis: Axes, panel: Panel) -> None:
    axis.set_axis_off()
    # A name may hold a dollar sign, which would begin a formula.
    axis.set_title("\n".join(panel.lines), fontsize=FONT, pad=3, parse_math=False)
    colours: dict[str, Any] = {}
    if panel.image.ndim == 2:
        top = float(np.quantile(np.abs(panel.image), 1 - CLIPPED / 1000)) or 1.0
        colours = {"cmap": "magma", "vmin": 0, "vmax": top}
        if (panel.image < 0).any():
            colours |= {"cmap": "PuOr", "vmin": -top}
    axis.imshow(panel.image, interpolation="none", **colours)


def difference(before: np.ndarray, after: np.ndarray, times: float = 1) -> np.ndarray:
    """What was added to a picture, around grey. Shapes: (H, W, 3) uint8 all."""
    change = (after.astype("float64") - before) * times
    return np.rint(127.5 + change).clip(0, 255).astype("uint8")


def overlaid(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A picture that is dark where a map is. Shapes: (H, W, 3), (H, W) -> (H, W, 3)."""
    light = 0.2 + 0.8 * values / (values.max() or 1.0)
    return np.rint(picture * light[..., None]).astype("uint8")


def curves(
    stages: Sequence[str], values: Mapping[str, Sequence[float]], label: str
) -> Figure:
    """Draw a curve for each name, over stages that have names too."""
    figure = Figure(figsize=(7.0, 3.8))
    axis = figure.add_axes((0.1, 0.24, 0.62, 0.73))
    draw_curves(axis, {name: dict(enumerate(curve)) for name, curve in values.items()})
    axis.set_xticks(range(len(stages)), stages, rotation=40, ha="right", fontsize=9)
    axis.set_ylabel(label, fontsize=10)
    axis.set_ylim(min(0, *(min(curve) for curve in values.values())) - 0.05, 1.05)
    # Beside the curves, as no place among them is free for sure.
    axis.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
