"""What does the captioner say? Pictures with true and generated captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from apps.captioning import grammar, look, shapes
from apps.captioning.consensus import most_agreed
from apps.captioning.data import Split
from apps.captioning.decode import Decoding
from apps.captioning.layout import DataError
from apps.captioning.look import Card
from apps.captioning.train import Trained

# Words that a caption may have, the end included. Source: CS231n's captioning.
MAX_LENGTH = 30
# Texts that the network reads side by side.
BATCH = 1024


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
    """Of many captions drawn of each picture, the one most like as many others."""
    drawing = replace(how, how="sample")
    # As people would write: at temperature 1, and words that we do not know too.
    writing = Decoding("sample", seed=how.seed, allow_unknown=True)
    candidates, references = (
        _draw(trained, features, pictures, length, decoding, how.draws, role)
        for role, decoding in enumerate((drawing, writing))
    )
    pairs = zip(candidates, references, strict=True)
    return [said[most_agreed(said, true)] for said, true in pairs]


def _draw(
    trained: Trained,
    features: np.ndarray,
    pictures: np.ndarray,
    length: int,
    how: Decoding,
    draws: int,
    role: int,
) -> list[list[list[str]]]:
    """Draw captions of each picture; each voice of the model draws its share of them.

    `role` tells these captions' random numbers from others' of the same pictures.
    """
    captions: list[list[list[str]]] = [[] for _ in pictures]
    voices = trained.model.voices[:draws]
    for voice, model in enumerate(voices):
        own = range(voice, draws, len(voices))
        rows = np.repeat(np.arange(len(pictures)), len(own))
        numbers = [(p, role, n) for p in pictures.tolist() for n in own]
        ids = model.sample(features[rows], length, how, numbers)
        for row, words in zip(rows, trained.data.words(ids), strict=True):
            captions[row].append(words)
    return captions


def draw_samples(
    trained: Trained,
    split: Split,
    count: int,
    seed: int,
    decoding: Decoding | None = None,
) -> list[Card]:
    """Caption some pictures of a split, chosen at random by the seed."""
    cards = look.choose(trained.data, split, count, seed)
    rows = np.array([card.row for card in cards])
    captions = map(" ".join, describe(trained, split, rows, decoding))
    captioned = [
        replace(card, generated=caption)
        for card, caption in zip(cards, captions, strict=True)
    ]
    return judge(captioned, trained.data.folder, split)


def judge(cards: Sequence[Card], folder: Path, split: Split) -> list[Card]:
    """Hold what was said against the scenes, where pictures are known to be drawn."""
    try:
        scenes = shapes.load_scenes(folder, split.name, len(split.features))
    except DataError:
        return list(cards)
    return [
        replace(card, verdict=grammar.judge(card.generated or "", scenes[card.row]))
        for card in cards
    ]


def print_samples(cards: Sequence[Card], console: Console) -> None:
    """Print a table: file, true caption, generated caption."""
    table = Table("picture", "true caption", "generated caption", show_lines=True)
    for card in cards:
        verdict = f"\n({card.judgement})" if card.verdict else ""
        table.add_row(card.name, _closest(card), card.said + verdict)
    console.print(table)


def _closest(card: Card) -> str:
    """The true caption that was generated, if it was; otherwise the first."""
    return card.said if card.said in card.captions else card.captions[0]
