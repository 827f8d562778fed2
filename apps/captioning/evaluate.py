"""How well does a captioner do? Its unigram BLEU on pictures that it never saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from apps.captioning.data import CaptionData, Split
from apps.captioning.metrics import mean_bleu
from apps.captioning.train import Trained


@dataclass(frozen=True)
class Scores:
    """What came out, each a number from 0 to 1.

    `exact` is the share of pictures whose caption is word for word one of theirs;
    `baseline` the BLEU of saying the commonest training caption every time.
    """

    bleu: float
    baseline: float
    exact: float


def evaluate(trained: Trained, split: Split) -> Scores:
    """Caption every picture of a split and compare with each true caption in turn."""
    references = trained.data.words(split.captions)
    captions = trained.describe(split, np.arange(len(split.features)))
    candidates = [captions[i] for i in split.image_indices]
    common = commonest_caption(trained.data)
    hits = {
        int(picture)
        for picture, reference in zip(split.image_indices, references, strict=True)
        if captions[picture] == reference
    }
    return Scores(
        bleu=mean_bleu(references, candidates),
        baseline=mean_bleu(references, [common] * len(references)),
        exact=len(hits) / len(set(split.image_indices.tolist())),
    )


def commonest_caption(data: CaptionData) -> list[str]:
    """The caption that most training pictures have; the first of equals."""
    counts = Counter(map(tuple, data.words(data.train.captions)))
    return list(counts.most_common(1)[0][0])
