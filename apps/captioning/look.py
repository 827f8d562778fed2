"""Pictures of a data set with their captions, and what the set holds in figures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from apps import pictures
from apps import report as pages
from apps.captioning.data import CaptionData, Split
from apps.captioning.grammar import Verdict
from apps.captioning.layout import END, NULL, START, UNKNOWN
from apps.console import say
from apps.errors import UserError
from apps.files import whole_file
from apps.report import LARGEST, Texts, png
from apps.tables import Table, print_table, side_by_side

MAX_CAPTIONS = 5  # shown of one picture
LINE, BOLD_LINE = 44, 38  # letters a line below a picture
FONT = 9  # points
LEADING = 0.17  # inches from line to line
BOX = (3.3, 2.75)  # inches a picture
GAP = 0.25  # inches around it


@dataclass(frozen=True)
class Card:
    """One picture: its row in the features, where it should be, and its captions.

    `captions` are true; `generated` is a captioner's, and `verdict` the judgement of
    that where the picture is a drawn scene.
    """

    row: int
    path: Path | None
    url: str
    captions: tuple[str, ...]
    generated: str | None = None
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """The picture's file name, or the row where it has none."""
        return self.path.name if self.path else f"row {self.row}"

    @property
    def said(self) -> str:
        """What was generated, so that it can be seen if that is nothing."""
        return self.generated or "(not a word)"

    @property
    def judgement(self) -> str:
        """The verdict in words; empty where there is none."""
        if self.verdict is None:
            return ""
        if self.verdict.things:
            return "correct" if self.verdict.relation else "wrong place or size"
        return "a thing is missing or extra" if self.verdict.relation else "wrong"

    @cached_property
    def on_page(self) -> pages.Card:
        """The card as a page and a PNG show it; its picture is read once."""
        texts = [Texts("captions", self.captions)]
        if self.generated is not None:
            good = self.verdict is not None and self.verdict.correct
            said = Texts("generated", [self.said], True, self.judgement, good)
            texts = [said, Texts("true captions", self.captions)]
        return pages.Card(
            name=self.name,
            picture=read_picture(self.path),
            alt=f"{self.name}: {self.captions[0]}",
            texts=texts,
            address=self.url,
            placeholder=f"No picture: {self.name} is missing or cannot be read.",
        )


def choose(data: CaptionData, split: Split, count: int, seed: int) -> list[Card]:
    """Choose described pictures of a split by a seed."""
    described = np.unique(split.image_indices)
    count = min(count, len(described))
    rows = np.random.default_rng(seed).choice(described, count, replace=False)
    cards = []
    for row in rows.tolist():
        references = data.words(split.references(row)[:MAX_CAPTIONS], True)
        path = picture_path(data.folder, split, row)
        url = split.urls[row] if split.urls else ""
        cards.append(Card(row, path, url, tuple(map(" ".join, references))))
    return cards


def picture_path(folder: Path, split: Split, row: int) -> Path | None:
    """Where a row's picture lies, or should; with an address only, its last part."""
    if split.images:
        return split.images[row]
    try:
        url = urlsplit(split.urls[row] if split.urls else "")
    except ValueError:  # an address with a bracket that does not close
        return None
    name = PurePosixPath(url.path).name
    return folder / "images" / name if name else None


def read_picture(path: Path | None) -> Image.Image | None:
    """Read a picture, at most `LARGEST` pixels a side; None if it cannot be read."""
    if path is None:
        return None
    try:
        return pictures.read(path, _shrunk, LARGEST).image
    except UserError:
        return None


def _shrunk(image: Image.Image, _: list[str]) -> Image.Image:
    image.thumbnail((LARGEST, LARGEST))
    return image


def save_cards(cards: Sequence[Card], path: Path) -> int:
    """Draw pictures above their captions into one PNG; give how many were there."""
    texts = [caption_lines(card) for card in cards]
    columns = min(4, len(cards))
    rows = -(-len(cards) // columns)
    # Boxes of one size, with room for the longest text: nothing is cut off.
    below = LEADING * max(map(len, texts)) + GAP
    width, height = BOX[0] + GAP, BOX[1] + below + GAP
    size = (columns * width + GAP, rows * height + GAP)
    figure = Figure(figsize=size)
    for i, (card, lines) in enumerate(zip(cards, texts, strict=True)):
        left = GAP + (i % columns) * width
        bottom = (rows - 1 - i // columns) * height + below + GAP
        box = (left / size[0], bottom / size[1], BOX[0] / size[0], BOX[1] / size[1])
        _draw(figure.add_axes(box, anchor="SW"), card, lines)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(png(figure, dpi=100))
    return sum(card.on_page.picture is not None for card in cards)


def _draw(axis: Axes, card: Card, lines: Sequence[tuple[str, str]]) -> None:
    """Draw a picture, or grey where there is none, and lines of text below it."""
    picture = card.on_page.picture
    axis.axis("off")
    axis.imshow(picture or Image.new("RGB", (60, 50), (222, 222, 222)))
    if picture is None:
        text = textwrap.fill(f"no picture: {card.name}", 26)
        axis.text(29.5, 24.5, text, ha="center", va="center")
    for number, (line, weight) in enumerate(lines):
        place = (0, 0), (0, -(6 + 72 * number * LEADING))  # of the axes; in points
        style: Any = {"va": "top", "fontsize": FONT, "fontweight": weight}
        axis.annotate(line, *place, "axes fraction", "offset points", **style)


def caption_lines(card: Card) -> list[tuple[str, str]]:
    """The lines below a picture, each with its weight."""
    lines: list[tuple[str, str]] = []
    for group in card.on_page.texts:
        if group.strong:
            verdict = f"{'✓' if group.good else '✗'} {group.verdict}"
            for text in (f"generated: {card.said}", verdict if group.verdict else ""):
                lines += [(line, "bold") for line in textwrap.wrap(text, BOLD_LINE)]
            lines.append(("true:", "normal"))
            continue
        for text in group.texts:
            wrapped = textwrap.wrap(f"· {text}", LINE, subsequent_indent="  ")
            lines += [(line, "normal") for line in wrapped]
    return lines


def print_cards(cards: Sequence[Card], console: Console) -> None:
    """Print a table: file, address if there is one, captions."""
    rows = [(f"{c.name}\n{c.url}".rstrip(), "\n".join(c.captions)) for c in cards]
    print_table(Table(("picture", "captions"), rows), console, lines=True)


def print_info(data: CaptionData, console: Console) -> None:
    """Print one screen: sizes of the splits, captions, vocabulary, features, memory."""
    figures = {
        split.name: _caption_figures(data, split)
        | _picture_figures(data, split)
        | _feature_figures(split)
        for split in (data.train, data.val)
    }
    print_table(side_by_side(figures), console, str(data.folder), right=True)
    ids, times = np.unique(data.train.captions, return_counts=True)
    word_of = {index: word for word, index in data.vocabulary.items()}
    ordered = [word_of[i] for i in ids[np.argsort(-times, kind="stable")].tolist()]
    words = [word for word in ordered if word not in (NULL, START, END)][:12]
    vocabulary = f"vocabulary: {len(data.vocabulary):,} words"
    say(f"{vocabulary}; the commonest: {', '.join(words)}", console)


def _caption_figures(data: CaptionData, split: Split) -> dict[str, str]:
    ids, captions = data.vocabulary, split.captions
    words = ~np.isin(captions, [ids[NULL], ids[START], ids[END]])
    unknown = np.count_nonzero(captions == ids[UNKNOWN]) / max(1, words.sum())
    cut = np.mean(~(captions == ids[END]).any(axis=1))
    per_picture = np.bincount(split.image_indices, minlength=len(split.features))
    return {
        "captions": f"{len(captions):,}",
        "captions a picture": _span(per_picture),
        "words a caption": _span(words.sum(axis=1)),
        f"captions cut off at {captions.shape[1]} ids": f"{cut:.1%}",
        f"words that are {UNKNOWN}": f"{unknown:.1%}",
    }


def _picture_figures(data: CaptionData, split: Split) -> dict[str, str]:
    folder = data.folder / "images"
    there = set(folder.rglob("*")) if folder.is_dir() else set()
    rows = range(len(split.features))
    found = sum(picture_path(data.folder, split, row) in there for row in rows)
    return {
        "pictures": f"{len(split.features):,}",
        "picture files here": f"{found:,}",
        "picture addresses": f"{sum(map(bool, split.urls)):,}",
    }


def _feature_figures(split: Split) -> dict[str, str]:
    moments, features = split.moments, split.features
    on_disk = features.shape[0] * features.shape[1] * 4
    in_memory = split.captions.nbytes + split.image_indices.nbytes
    return {
        "features a picture": f"{split.input_dim:,} {features.dtype}",
        "feature mean": f"{moments.mean.mean():.3g}",
        "feature standard deviation": f"{np.sqrt(max(moments.variance, 0)):.3g}",
        "smallest, largest": f"{moments.smallest:.3g}, {moments.largest:.3g}",
        "features that are 0": f"{moments.zeros:.1%}",
        "features on disk": f"{on_disk / 1e6:,.1f} MB",
        "captions in memory": f"{in_memory / 1e6:,.1f} MB",
    }


def _span(counts: np.ndarray) -> str:
    return f"{counts.min()} to {counts.max()}, mean {counts.mean():.1f}"
