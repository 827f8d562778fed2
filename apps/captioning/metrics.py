"""BLEU of captions: against one reference, of a corpus, and among drawn captions.

Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine
Translation", ACL 2002, sections 2.1.1 (clipped precision) and 2.2.2 (brevity). The
corpus scores are computed by sacreBLEU (Post, "A Call for Clarity in Reporting BLEU
Scores", WMT 2018).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from sacrebleu.metrics.bleu import BLEU

Captions = Sequence[Sequence[str]]


def unigram_bleu(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """Clipped word precision times the brevity penalty; 0 where nothing matches."""
    matches = sum((Counter(reference) & Counter(candidate)).values())
    if matches == 0:
        return 0.0
    brevity = min(1.0, math.exp(1 - len(reference) / len(candidate)))
    return brevity * matches / len(candidate)


def mean_bleu(references: Captions, candidates: Captions) -> float:
    """The mean over pairs of one reference and the candidate of its picture."""
    pairs = list(zip(references, candidates, strict=True))
    if not pairs:
        raise ValueError(
            "mean_bleu of no captions: a mean needs at least one. Pass the captions "
            "of a split that has some."
        )
    return sum(unigram_bleu(r, c) for r, c in pairs) / len(pairs)


def corpus_bleu(
    references: Sequence[Captions], candidates: Captions
) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of all captions together, each from 0 to 1, without smoothing.

    Each candidate is compared with all references of its picture at once, as in the
    COCO challenge, so the numbers are far above those of `mean_bleu`.

    Raises: ValueError if there is no candidate, or one without references.
    """
    if not candidates or not all(references) or len(references) != len(candidates):
        raise ValueError(
            f"corpus_bleu of {len(candidates)} captions and {len(references)} lists of "
            "references: it needs at least one caption, and at least one reference for "
            "each. Leave out pictures that nobody has described."
        )
    bleu = BLEU(tokenize="none", force=True)
    texts = [" ".join(words) for words in candidates]
    lists = [[" ".join(words) for words in of_one] for of_one in references]
    # sacreBLEU wants every picture's first reference, every picture's second, ...
    found = bleu.corpus_score(texts, [list(nth) for nth in zip_longest(*lists)])
    lengths = (found.sys_len, found.ref_len)
    scores = []
    for n in range(1, 5):
        counts, totals = found.counts[:n], found.totals[:n]
        of = BLEU.compute_bleu(counts, totals, *lengths, "none", max_ngram_order=n)
        scores.append(of.score / 100)
    return tuple(scores)


def most_agreed(captions: Captions, references: Captions) -> int:
    """Minimum Bayes risk: the caption with the highest mean unigram BLEU.

    Drawn captions are as people might write them: the one that scores best against
    them, on average, is the best guess (risk: 1 - unigram BLEU). Of equals, the first.

    Raises: ValueError if there is no caption, or no reference.
    Source: Kumar, Byrne, Minimum Bayes-Risk Decoding for Statistical Machine
    Translation (2004), section 2.
    """
    if not captions or not references:
        raise ValueError(
            f"most_agreed of {len(captions)} captions and {len(references)} "
            "references: it needs at least one of each. Draw some."
        )
    return int(agreement(captions, references).mean(axis=1).argmax())


def agreement(captions: Captions, references: Captions) -> np.ndarray:
    """The unigram BLEU of each caption against each reference.

    The same as `unigram_bleu` of every pair, but counted once for each caption.
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
