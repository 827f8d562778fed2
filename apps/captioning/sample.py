"""What does the captioner say? Pictures with true and generated captions."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.table import Table

from apps.captioning.consensus import most_agreed
from apps.captioning.data import Split
from apps.captioning.decode import Decoding
from apps.captioning.train import Trained

# Words that a caption may have, the end included. Source: CS231n's captioning.
MAX_LENGTH = 30
# Texts that the network reads side by side.
BATCH = 256


@dataclass(frozen=True)
class Sample:
    """One picture: where it is, if it has a file, and what was and should be said."""

    image: Path | None
    true: str
    generated: str


def describe(
    trained: Trained,
    split: Split,
    pictures: np.ndarray,
    decoding: Decoding | None = None,
) -> list[list[str]]:
    """Say in words what these pictures of a split show; as in training, by default.

    Raises: ValueError if there are fewer words in the vocabulary than `top_k`.
    """
    how = decoding or trained.settings.decoding
    how.check_vocabulary(len(trained.data.vocabulary))
    # A vocabulary of characters needs more steps for a caption than one of words.
    length = max(MAX_LENGTH, trained.data.train.captions.shape[1])
    captions: list[list[str]] = []
    size = max(1, BATCH // how.width)
    for begin in range(0, len(pictures), size):
        chosen = pictures[begin : begin + size]
        features = trained.standard(split.read_features(chosen))
        if how.how == "mbr":
            captions += _agreed(trained, features, chosen, length, how)
        else:
            ids = trained.model.sample(features, length, how, chosen.tolist())
            captions += trained.data.words(ids)
    return captions


def _agreed(
    trained: Trained,
    features: np.ndarray,
    pictures: np.ndarray,
    length: int,
    how: Decoding,
) -> list[list[str]]:
    """Of many captions drawn of each picture, the one most like the others."""
    several = np.repeat(features, how.draws, axis=0)
    numbers = [(p, n) for p in pictures.tolist() for n in range(how.draws)]
    ids = trained.model.sample(several, length, replace(how, how="sample"), numbers)
    said = trained.data.words(ids)
    groups = [said[i : i + how.draws] for i in range(0, len(said), how.draws)]
    return [group[most_agreed(group)] for group in groups]


def draw_samples(
    trained: Trained,
    split: Split,
    count: int,
    seed: int,
    decoding: Decoding | None = None,
) -> list[Sample]:
    """Caption some pictures of a split, chosen at random by the seed."""
    described = np.unique(split.image_indices)
    count = min(count, len(described))
    pictures = np.random.default_rng(seed).choice(described, count, replace=False)
    captions = describe(trained, split, pictures, decoding)
    return [
        Sample(
            image=split.images[picture] if split.images else None,
            true=_closest(trained.data.words(split.references(picture)), caption),
            generated=" ".join(caption),
        )
        for picture, caption in zip(pictures.tolist(), captions, strict=True)
    ]


def print_samples(samples: Sequence[Sample], console: Console) -> None:
    """Print a table: file, true caption, generated caption."""
    table = Table("picture", "true caption", "generated caption", show_lines=True)
    for sample in samples:
        name = sample.image.name if sample.image else "-"
        table.add_row(name, sample.true, sample.generated)
    console.print(table)


def save_picture(samples: Sequence[Sample], path: Path) -> None:
    """Draw the pictures with both captions into one PNG file."""
    columns = min(4, len(samples))
    rows = -(-len(samples) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(3.2 * columns, 4.2 * rows), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, sample in zip(axes, samples, strict=False):
        _show(axis, sample)
    unfinished = path.with_name(f".{path.name}.part")
    figure.savefig(unfinished, format="png", dpi=100)
    os.replace(unfinished, path)


def _closest(references: list[list[str]], caption: list[str]) -> str:
    """The true caption that was generated, if it was; otherwise the first."""
    return " ".join(caption if caption in references else references[0])


def _show(axis: Axes, sample: Sample) -> None:
    axis.imshow(_read_image(sample.image))
    true = textwrap.fill(f"true: {sample.true}", 38)
    generated = textwrap.fill(f"generated: {sample.generated}", 38)
    axis.set_title(f"{true}\n{generated}", fontsize=10, loc="left")


def _read_image(path: Path | None) -> Image.Image:
    """A picture, or a grey placeholder where it is missing or cannot be read."""
    if path is not None:
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except (OSError, UnidentifiedImageError):
            pass
    return Image.new("RGB", (64, 64), (200, 200, 200))
