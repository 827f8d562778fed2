"""How well does a captioner do? Its scores on pictures that it never saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from apps.captioning import baselines, shapes
from apps.captioning.baselines import Shares
from apps.captioning.data import CaptionData, Split
from apps.captioning.decode import Decoding
from apps.captioning.metrics import corpus_bleu, mean_bleu
from apps.captioning.sample import describe
from apps.captioning.train import Trained


@dataclass(frozen=True)
class Scores:
    """What came out of `pictures` pictures, each score a number from 0 to 1.

    `bleu` is the courses' unigram BLEU, against one true caption at a time; `corpus`
    holds BLEU-1 to BLEU-4 of all captions, against all true ones of their picture;
    `exact` is the share of pictures whose caption is word for word one of theirs;
    `invented` the share of words said that no training caption has;
    `baseline` the unigram BLEU of saying the commonest training caption every time.
    `shares` has what is correct, by who speaks; for drawn scenes only.
    """

    pictures: int
    bleu: float
    baseline: float
    exact: float
    invented: float
    corpus: tuple[float, ...]
    shares: Mapping[str, Shares] = field(default_factory=dict)


def evaluate(
    trained: Trained, split: Split, decoding: Decoding | None = None
) -> Scores:
    """Caption every picture of a split that has true captions, and score that."""
    pictures = np.unique(split.image_indices)
    captions = describe(trained, split, pictures, decoding)
    said = dict(zip(pictures.tolist(), captions, strict=True))
    return score(trained.data, split, said)


def score(data: CaptionData, split: Split, said: Mapping[int, list[str]]) -> Scores:
    """Compare what was said of each picture with its true captions."""
    references = data.words(split.captions)
    pictures = split.image_indices.tolist()
    true = defaultdict(list)
    for picture, reference in zip(pictures, references, strict=True):
        true[picture].append(reference)
    common = baselines.commonest_caption(data)
    drawn = shapes.are_drawn(data.folder, split.name)
    return Scores(
        pictures=len(true),
        bleu=mean_bleu(references, [said[picture] for picture in pictures]),
        baseline=mean_bleu(references, [common] * len(references)),
        exact=sum(said[p] in of_one for p, of_one in true.items()) / len(true),
        invented=_invented(data, said),
        corpus=corpus_bleu([*true.values()], [said[picture] for picture in true]),
        shares=baselines.compare(data, split, said) if drawn else {},
    )


def _invented(data: CaptionData, said: Mapping[int, list[str]]) -> float:
    """The share of words said that no training caption has."""
    known = {word for words in data.words(data.train.captions) for word in words}
    spoken = [word for words in said.values() for word in words]
    return sum(word not in known for word in spoken) / max(1, len(spoken))
