"""How good is a caption? Unigram BLEU against one reference.

Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine
Translation", ACL 2002, sections 2.1.1 (clipped precision) and 2.2.2 (brevity).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def unigram_bleu(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """Clipped word precision times the brevity penalty; 0 where nothing matches."""
    matches = sum((Counter(reference) & Counter(candidate)).values())
    if matches == 0:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(candidate)))
    return brevity * matches / len(candidate)


def mean_bleu(
    references: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]
) -> float:
    """The mean over pairs of one reference and the candidate of its picture."""
    pairs = list(zip(references, candidates, strict=True))
    if not pairs:
        raise ValueError(
            "mean_bleu of no captions: a mean needs at least one. Pass the captions "
            "of a split that has some."
        )
    return sum(unigram_bleu(r, c) for r, c in pairs) / len(pairs)
