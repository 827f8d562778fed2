"""Sampling: captions of pictures, beside the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from apps.captioning import grammar, look, shapes
from apps.captioning.data import Split
from apps.captioning.layout import DataError
from apps.captioning.look import Card
from apps.captioning.metrics import most_agreed
from apps.captioning.model import Ensemble
from apps.captioning.settings import Decoding
from apps.captioning.train import Trained
from apps.tables import Table, print_table

# Words that a caption may have, the end included. Source: CS231n's captioning.
MAX_LENGTH = 30
# Texts that are decoded at once.
BATCH = 1024

Words = list[str]


def describe(
    trained: Trained,
    split: Split,
    pictures: np.ndarray,
    decoding: Decoding | None = None,
) -> list[Words]:
    """Caption pictures of a split, by default as the settings say.

    Raises: DecodingError if the vocabulary has fewer words than `top_k`.
    """
    how = decoding or trained.settings.decoding
    how.check_vocabulary(len(trained.data.vocabulary))
    captions: list[Words] = []
    size = max(1, BATCH // how.width)
    for begin in range(0, len(pictures), size):
        chosen = pictures[begin : begin + size]
        features = trained.standard(split.read_features(chosen))
        if how.how == "mbr":
            captions += _agreed(trained, features, chosen, how)
        else:
            ids = trained.model.sample(
                features, _longest(trained), how, chosen.tolist()
            )
            captions += trained.data.words(ids)
    return captions


def _longest(trained: Trained) -> int:
    # Letter by letter, a caption takes more steps.
    return max(MAX_LENGTH, trained.data.train.captions.shape[1])


def _agreed(
    trained: Trained, features: np.ndarray, pictures: np.ndarray, how: Decoding
) -> list[Words]:
    """Of many sampled captions of each picture, the one most like as many others."""
    drawing = replace(how, how="sample")
    # As people would write: at temperature 1, unknown words included.
    writing = Decoding("sample", seed=how.seed, allow_unknown=True, draws=how.draws)
    candidates, references = (
        _draw(trained, features, pictures, decoding, role)
        for role, decoding in enumerate((drawing, writing))
    )
    pairs = zip(candidates, references, strict=True)
    return [said[most_agreed(said, true)] for said, true in pairs]


def _draw(
    trained: Trained,
    features: np.ndarray,
    pictures: np.ndarray,
    how: Decoding,
    role: int,
) -> list[list[Words]]:
    """Draw captions of each picture, each member of an ensemble some of them.

    `role` tells their random numbers from others' of the same pictures.
    """
    captions: list[list[Words]] = [[] for _ in pictures]
    model = trained.model
    members = [*model.members][: how.draws] if isinstance(model, Ensemble) else [model]
    for first, member in enumerate(members):
        own = range(first, how.draws, len(members))
        rows = np.repeat(np.arange(len(pictures)), len(own))
        numbers = [(p, role, n) for p in pictures.tolist() for n in own]
        ids = member.sample(features[rows], _longest(trained), how, numbers)
        for row, words in zip(rows, trained.data.words(ids), strict=True):
            captions[row].append(words)
    return captions


def draw_samples(trained: Trained, split: Split, count: int, seed: int) -> list[Card]:
    """Caption some pictures of a split, chosen at random by the seed."""
    cards = look.choose(trained.data, split, count, seed)
    rows = np.array([card.row for card in cards])
    captions = describe(trained, split, rows)
    pairs = zip(cards, captions, strict=True)
    captioned = [replace(card, generated=" ".join(words)) for card, words in pairs]
    return judge(captioned, trained.data.folder, split)


def judge(cards: Sequence[Card], folder: Path, split: Split) -> list[Card]:
    """Judge captions by the scenes, where the pictures are drawn ones."""
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
    rows = [
        (
            card.name,
            card.said if card.said in card.captions else card.captions[0],
            card.said + (f"\n({card.judgement})" if card.verdict else ""),
        )
        for card in cards
    ]
    heading = ("picture", "true caption", "generated caption")
    print_table(Table(heading, rows), console, lines=True)
