"""How well does a captioner do? Its BLEU on pictures that it never saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apps.captioning.data import CaptionData, Split
from apps.captioning.decode import Decoding
from apps.captioning.metrics import corpus_bleu, mean_bleu
from apps.captioning.sample import describe
from apps.captioning.train import Trained


@dataclass(frozen=True)
class Scores:
    """What came out, each a number from 0 to 1.

    `bleu` is the courses' unigram BLEU, against one true caption at a time; `corpus`
    holds BLEU-1 to BLEU-4 of all captions, against all true ones of their picture;
    `exact` is the share of pictures whose caption is word for word one of theirs;
    `baseline` the unigram BLEU of saying the commonest training caption every time.
    """

    bleu: float
    baseline: float
    exact: float
    corpus: tuple[float, ...]


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
    common = commonest_caption(data)
    return Scores(
        bleu=mean_bleu(references, [said[picture] for picture in pictures]),
        baseline=mean_bleu(references, [common] * len(references)),
        exact=sum(said[p] in of_one for p, of_one in true.items()) / len(true),
        corpus=corpus_bleu([*true.values()], [said[picture] for picture in true]),
    )


def commonest_caption(data: CaptionData) -> list[str]:
    """The caption that most training pictures have; the first of equals."""
    counts = Counter(map(tuple, data.words(data.train.captions)))
    return list(counts.most_common(1)[0][0])
