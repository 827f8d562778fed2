"""Minimum Bayes risk decoding: of many captions, the one most like all the others.

A network draws captions as people might write them; whoever scores it will compare its
caption with what some person wrote. So the caption that scores best, on average, with
drawn ones in the place of the true ones is the best guess (risk: 1 - unigram BLEU).

Source: Kumar, Byrne, Minimum Bayes-Risk Decoding for Statistical Machine Translation
(2004), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Captions = Sequence[Sequence[str]]


def most_agreed(captions: Captions, references: Captions) -> int:
    """Which caption has the highest mean unigram BLEU against the references.

    Of equals, the first.
    Raises: ValueError if there is no caption, or no reference.
    """
    if not captions or not references:
        raise ValueError(
            f"most_agreed of {len(captions)} captions and {len(references)} "
            "references: it needs at least one of each. Draw some."
        )
    return int(agreement(captions, references).mean(axis=1).argmax())


def agreement(captions: Captions, references: Captions) -> np.ndarray:
    """The unigram BLEU of each caption against each reference.

    The same as `metrics.unigram_bleu` of every pair, but counted once for each caption.
    Shapes: S captions, R references -> (S, R).
    """
    ids: dict[str, int] = {}
    everything = [*captions, *references]
    rows = [[ids.setdefault(word, len(ids)) for word in own] for own in everything]
    # How often each caption says each of the words that occur.
    counts = np.stack([np.bincount(row, minlength=len(ids)) for row in rows])
    said, true = counts[: len(captions)], counts[len(captions) :]
    matches = np.stack([np.minimum(own, true).sum(axis=1) for own in said])
    # A caption of no words matches nothing, whatever it is divided by.
    lengths = np.maximum(said.sum(axis=1), 1)[:, None]
    return matches / lengths * np.exp(np.minimum(0, 1 - true.sum(axis=1) / lengths))
