"""Baselines: the scores of captions that took no understanding.

On drawn scenes, captions are held against what was drawn: the captioner's, those of
the training picture that looks most alike, and the commonest one, said every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apps.captioning import grammar, shapes
from apps.captioning.consensus import most_agreed
from apps.captioning.data import CaptionData, Split
from apps.captioning.grammar import Scene


@dataclass(frozen=True)
class Shares:
    """Of how many scenes, from 0 to 1, a captioner says what is right.

    `correct`: it names every thing and tells one true relation; `things`: it names
    every thing's colour and shape; `relation`: what it says of the things is true.
    """

    correct: float
    things: float
    relation: float

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]], scenes: Sequence[Scene]) -> Shares:
        """Hold each caption, a list of words, against its scene.

        Raises: ValueError if there is none, or not one caption for each scene.
        """
        if not scenes:
            raise ValueError(
                "Shares.of no scenes: a share needs at least one. Pass a split that "
                "has some."
            )
        verdicts = [
            grammar.judge(" ".join(words), scene)
            for words, scene in zip(captions, scenes, strict=True)
        ]
        found = [(v.correct, v.things, v.relation) for v in verdicts]
        return cls(*np.mean(found, axis=0).tolist())


def compare(
    data: CaptionData, split: Split, said: Mapping[int, list[str]]
) -> dict[str, Shares]:
    """Judge what a captioner said of drawn scenes, and what both baselines say.

    `said` has the caption of each picture, by its row.
    Raises: DataError if the data are not drawn shapes.
    """
    every = shapes.load_scenes(data.folder, split.name, len(split.features))
    pictures = np.array(list(said))
    scenes = [every[picture] for picture in pictures]
    captions = {
        "captioner": list(said.values()),
        "nearest": nearest_captions(data, split, pictures),
        "commonest": [commonest_caption(data)] * len(scenes),
    }
    return {name: Shares.of(told, scenes) for name, told in captions.items()}


def commonest_caption(data: CaptionData) -> list[str]:
    """The caption that most training pictures have; the first of equals."""
    counts = Counter(map(tuple, data.words(data.train.captions)))
    return list(counts.most_common(1)[0][0])


def safest_caption(
    data: CaptionData, candidates: int = 500, references: int = 1000
) -> list[str]:
    """The caption that is most like all: what can be said without looking.

    Of some training captions, the one with the highest mean unigram BLEU against
    others; both are chosen at random, always the same ones.
    """
    captions = data.train.captions
    rows = np.random.default_rng(0).permutation(len(captions))
    told = data.words(captions[rows[: max(candidates, references)]])
    return told[most_agreed(told[:candidates], told[:references])]


def nearest_captions(
    data: CaptionData, split: Split, pictures: np.ndarray
) -> list[list[str]]:
    """For each picture, a caption of the training picture whose features are nearest.

    Of that picture's captions, the first.
    """
    train = data.train
    told, rows = np.unique(train.image_indices, return_index=True)
    nearest = _nearest(train, told, split.read_features(pictures))
    return data.words(train.captions[rows[nearest]])


def _nearest(
    train: Split, pictures: np.ndarray, features: np.ndarray, chunk: int = 4096
) -> np.ndarray:
    """The place in `pictures` of each row's nearest, the first of equals.

    Shapes: pictures (P,), features (N, D) -> (N,).
    """
    best = np.full(len(features), np.inf)
    nearest = np.zeros(len(features), dtype=int)
    for begin in range(0, len(pictures), chunk):
        known = train.read_features(pictures[begin : begin + chunk])
        # |a - b|^2 without |a|^2, which is the same for all that a is compared with.
        distances = (known**2).sum(axis=1) - 2 * features @ known.T
        closest = distances.argmin(axis=1)
        smallest = distances[np.arange(len(features)), closest]
        better = smallest < best
        nearest[better] = begin + closest[better]
        best[better] = smallest[better]
    return nearest
