"""What does the captioner say? Pictures with true and generated captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import minigrad as mg
from apps.captioning import decode, grammar, look, shapes
from apps.captioning.data import END, NULL, START, UNKNOWN, DataError, Split
from apps.captioning.decode import Decoding
from apps.captioning.look import Card
from apps.captioning.model import Captioner
from apps.captioning.train import Trained

# Words that a caption may have, the end included. Source: CS231n's captioning.
MAX_LENGTH = 30
# Texts that the network reads side by side.
BATCH = 256


def describe(
    trained: Trained,
    split: Split,
    pictures: np.ndarray,
    decoding: Decoding | None = None,
) -> list[list[str]]:
    """Say in words what these pictures of a split show; greedily, if nothing is said.

    Raises: ValueError if there are fewer words in the vocabulary than `top_k`.
    """
    how = decoding or Decoding()
    how.check_vocabulary(len(trained.data.vocabulary))
    # A vocabulary of characters needs more steps for a caption than one of words.
    length = max(MAX_LENGTH, trained.data.train.captions.shape[1])
    captions: list[list[str]] = []
    size = max(1, BATCH // how.width)
    for begin in range(0, len(pictures), size):
        chosen = pictures[begin : begin + size]
        features = trained.standard(split.read_features(chosen))
        ids = choose_words(trained.model, features, chosen.tolist(), length, how)
        captions += trained.data.words(ids)
    return captions


def choose_words(
    model: Captioner,
    features: np.ndarray,
    numbers: Sequence[int],
    length: int,
    how: Decoding,
) -> np.ndarray:
    """Let a captioner say what it sees, nothing dropped and nothing recorded.

    `numbers` are the pictures' own; with the seed they decide what is drawn for each.
    Shapes: features (N, D), N numbers -> word ids (N, length), padded after the end.
    """
    training = model.training
    model.eval()
    try:
        with mg.no_grad():
            return _choose_words(model, features, numbers, length, how)
    finally:
        model.train(training)


def _choose_words(
    model: Captioner,
    features: np.ndarray,
    numbers: Sequence[int],
    length: int,
    how: Decoding,
) -> np.ndarray:
    step, state, count = model.step, model.first_state(features), len(features)
    ids = special_ids(model.vocabulary, how.allow_unknown)
    if how.how == "greedy":
        return decode.greedy(step, state, count, length, ids)
    if how.how == "sample":
        draws = decode.uniform_draws(how.seed, numbers, length)
        return decode.sample(step, state, draws, ids, how.temperature, how.top_k)
    size, penalty = how.beam_size, how.length_penalty
    return decode.beam(step, state, count, length, ids, size, penalty)


def special_ids(vocabulary: dict[str, int], allow_unknown: bool) -> decode.SpecialIds:
    """Find the ids that mean something else than a word."""
    never = [NULL, START] if allow_unknown else [NULL, START, UNKNOWN]
    return decode.SpecialIds(
        null=vocabulary[NULL],
        start=vocabulary[START],
        end=vocabulary[END],
        never=tuple(vocabulary[word] for word in never),
    )


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
        scenes = shapes.load_scenes(folder, split.name)
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
        texts = (card.name, _closest(card), card.said + verdict)
        table.add_row(*map(look.plain, texts))
    console.print(table)


def _closest(card: Card) -> str:
    """The true caption that was generated, if it was; otherwise the first."""
    return card.said if card.said in card.captions else card.captions[0]
