"""Which of many captions is the safest to say? The one most like all the others.

A network draws captions as people might write them; whoever scores it will compare its
caption with what some person wrote. So the caption that scores best, on average, with
the drawn ones in the place of the true ones is the best guess: minimum Bayes risk
decoding, the risk being 1 - unigram BLEU.

Source: Kumar, Byrne, Minimum Bayes-Risk Decoding for Statistical Machine Translation
(2004), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def most_agreed(captions: Sequence[Sequence[str]]) -> int:
    """Which caption has the highest mean unigram BLEU against all; the first of equals.

    Raises: ValueError if there is none.
    """
    if not captions:
        raise ValueError("most_agreed of no captions: draw at least one.")
    return int(agreement(captions).mean(axis=1).argmax())


def agreement(captions: Sequence[Sequence[str]]) -> np.ndarray:
    """The unigram BLEU of each caption against each as its reference.

    The same as `metrics.unigram_bleu` of every pair, but counted once for each caption.
    Shapes: S captions -> (S, S), the row's caption against the column's.
    """
    counts = _counts(captions)
    matches = np.stack([np.minimum(own, counts).sum(axis=1) for own in counts])
    lengths = counts.sum(axis=1)
    # A caption of no words matches nothing, whatever it is divided by.
    own, other = np.maximum(lengths, 1)[:, None], lengths[None, :]
    return matches / own * np.exp(np.minimum(0.0, 1 - other / own))


def _counts(captions: Sequence[Sequence[str]]) -> np.ndarray:
    """How often each caption says each of the words that occur. Shapes: -> (S, V)."""
    ids: dict[str, int] = {}
    rows = [[ids.setdefault(word, len(ids)) for word in words] for words in captions]
    counts = np.zeros((len(captions), len(ids)))
    for row, said in zip(counts, rows, strict=True):
        np.add.at(row, said, 1)
    return counts
