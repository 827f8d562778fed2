"""Scores of a captioner on pictures that it never saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from apps.captioning import baselines, shapes
from apps.captioning.baselines import Accuracy
from apps.captioning.data import CaptionData, Split
from apps.captioning.metrics import corpus_bleu, mean_bleu
from apps.captioning.sample import Words, describe
from apps.captioning.train import Trained


@dataclass(frozen=True)
class Likeness:
    """How like captions are to the true ones; each number from 0 to 1.

    `bleu` is unigram BLEU, against one true caption at a time; `corpus` BLEU-1 to
    BLEU-4, against all of a picture; `exact` the fraction of captions that are one of
    the true ones; `invented` that of words that no training caption has.
    """

    bleu: float
    exact: float
    invented: float
    corpus: tuple[float, ...]


@dataclass(frozen=True)
class Scores:
    """The scores on `pictures` pictures.

    `constant` are those of one caption for all: `safest`, the one most like all others.
    `accuracy`, for drawn scenes only, is by who speaks.
    """

    pictures: int
    captioner: Likeness
    constant: Likeness
    safest: str
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)


def evaluate(trained: Trained, split: Split) -> Scores:
    """Caption every picture of a split that has true captions, and score that."""
    pictures = np.unique(split.image_indices)
    captions = describe(trained, split, pictures)
    said = dict(zip(pictures.tolist(), captions, strict=True))
    return score(trained.data, split, said)


def score(data: CaptionData, split: Split, said: Mapping[int, Words]) -> Scores:
    """Compare each picture's caption with its true ones."""
    told = data.words(data.train.captions)
    known = {word for words in told for word in words}
    true = defaultdict(list)
    references = data.words(split.captions)
    for picture, words in zip(split.image_indices.tolist(), references, strict=True):
        true[picture].append(words)
    safest = baselines.safest_caption(told)
    drawn = shapes.are_drawn(data.folder, split.name)
    return Scores(
        pictures=len(true),
        captioner=_likeness(true, said, known),
        constant=_likeness(true, dict.fromkeys(true, safest), known),
        safest=" ".join(safest),
        accuracy=baselines.compare(data, told, split, said) if drawn else {},
    )


def _likeness(
    true: Mapping[int, list[Words]], said: Mapping[int, Words], known: set[str]
) -> Likeness:
    """Compare captions with the true ones, both by their picture."""
    pairs = [(said[p], reference) for p, of_one in true.items() for reference in of_one]
    candidates, references = zip(*pairs, strict=True)
    spoken = [word for words in said.values() for word in words]
    return Likeness(
        bleu=mean_bleu(references, candidates),
        exact=sum(said[p] in of_one for p, of_one in true.items()) / len(true),
        invented=sum(word not in known for word in spoken) / max(1, len(spoken)),
        corpus=corpus_bleu([*true.values()], [said[picture] for picture in true]),
    )
