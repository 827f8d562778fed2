"""Decoding: greedy, sampling and beam search.

All ask a step function, so they serve any network that reads one word after another:

    step(state, words) -> (state, scores)

where words (n,) are the last word of each of n texts and the scores (n, V), an array on
the host, are log-probabilities or differ from them by a constant a row. A state is made
of arrays or Tensors whose first axis is the text, in tuples, lists and dictionaries.

Glossary of shapes: N texts, V words in the vocabulary, T the greatest length, W beams
of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from apps.captioning.settings import Decoding

Choose = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # log_p, texts, t
Step = Callable[[Any, np.ndarray], tuple[Any, np.ndarray]]
# What tells a text from the others: a number, or several, such as (picture, draw).
Number = int | tuple[int, ...]


class SpecialIds(NamedTuple):
    """The word ids that begin, end and pad a text, and those that are never said."""

    null: int
    start: int
    end: int
    never: tuple[int, ...] = ()


def decode(
    step: Step,
    state: Any,
    numbers: Sequence[Number],
    length: int,
    ids: SpecialIds,
    how: Decoding,
) -> np.ndarray:
    """Say a text for each of N states as `how` asks; with the seed, `numbers` draw it.

    Shapes: state of N texts, N numbers -> word ids (N, length), padded after the end.
    Raises: ValueError for "mbr", which compares words.
    """
    count = len(numbers)
    if how.how == "greedy":
        return greedy(step, state, count, length, ids)
    if how.how == "sample":
        draws = uniform_draws(how.seed, numbers, length)
        return sample(step, state, draws, ids, how)
    if how.how == "beam":
        return beam(step, state, count, length, ids, how)
    raise ValueError(
        f"decode cannot choose by {how.how!r}, which compares words and not ids. Draw "
        "texts by 'sample' and choose among them."
    )


def greedy(
    step: Step, state: Any, count: int, length: int, ids: SpecialIds
) -> np.ndarray:
    """Say the likeliest next word each time; of equals, the first in the vocabulary.

    Shapes: state of `count` texts N -> word ids (N, length), padded after the end.
    """
    shape = (count, length)
    return _follow(step, state, shape, ids, lambda log_p, *_: log_p.argmax(axis=1))


def sample(
    step: Step, state: Any, draws: np.ndarray, ids: SpecialIds, how: Decoding
) -> np.ndarray:
    """Draw each next word with probability proportional to p ** (1 / temperature).

    With `top_k`, only the k likeliest words are drawn from.

    Shapes: draws (N, T), uniform from [0, 1) -> word ids (N, T), padded after the end.
    Source: top-k, Fan, Lewis, Dauphin, Hierarchical Neural Story Generation (2018).
    """

    def choose(log_p: np.ndarray, texts: np.ndarray, t: int) -> np.ndarray:
        if how.top_k is not None:
            chosen = _best(log_p, how.top_k)
            kept = np.take_along_axis(log_p, chosen, axis=1)
            log_p = np.full_like(log_p, -np.inf)
            np.put_along_axis(log_p, chosen, kept, axis=1)
        below = log_p - log_p.max(axis=1, keepdims=True)
        with np.errstate(over="ignore"):  # beyond the range is a probability of 0
            reached = np.cumsum(np.exp(below / how.temperature), axis=1)
        # A word owns the interval between its predecessor's sum and its own.
        return np.sum(reached <= draws[texts, t, None] * reached[:, -1:], axis=1)

    return _follow(step, state, (len(draws), draws.shape[1]), ids, choose)


def uniform_draws(seed: int, numbers: Sequence[Number], length: int) -> np.ndarray:
    """Random numbers for `sample`, a stream for each number, whatever the batch.

    Shapes: N numbers -> (N, length).
    """
    keys = [[seed, *(n if isinstance(n, tuple) else (n,))] for n in numbers]
    rows = [np.random.default_rng(key).random(length) for key in keys]
    return np.array(rows).reshape(len(rows), length)


def beam(
    step: Step, state: Any, count: int, length: int, ids: SpecialIds, how: Decoding
) -> np.ndarray:
    """Follow the `beam_size` likeliest texts at once, and say the best one in the end.

    Finished and unfinished texts compete for the same places. A text is worth its
    log-probability over its number of words (the end counts) to the power of
    `length_penalty`. The search stops as soon as no unfinished text can overtake the
    best finished one: one that goes on can only lose probability, so it will be worth
    at most its log-probability over the power of the greatest length.

    Shapes: state of `count` texts N -> word ids (N, length), padded after the end.
    Source: the stopping rule, Huang, Zhao, Ma, When to Finish? Optimal Beam Search for
    Neural Text Generation (2017).
    """
    powers = np.maximum(np.arange(length + 1), 1) ** how.length_penalty
    none = np.zeros((count, 1), dtype=int)
    texts = np.full((count, 1, length), ids.null)
    beams = _Beams(none.astype(float), none, none > 0, none == 0, texts)
    words = np.full(count, ids.start)
    for t in range(length):
        state, scores = step(state, words)
        log_p = _normalise(scores, ids)
        beams, rows = _grow(beams, log_p, t, how.beam_size, powers, ids)
        if not beams.live.any():
            break
        state, words = _rows(state, rows), beams.texts[..., t][beams.live]
    worth = beams.log_p / powers[beams.lengths]
    tied = worth == worth.max(axis=1, keepdims=True)
    best = np.argmax(tied * (1 + beams.ended), axis=1)  # of equals, a finished one
    return beams.texts[np.arange(count), best]


class _Beams(NamedTuple):
    """The texts that are followed, best first.

    Shapes: log_p, lengths, ended, live (N, W); texts (N, W, T). The live ones, counted
    along rows, are the texts of the state.
    """

    log_p: np.ndarray
    lengths: np.ndarray
    ended: np.ndarray
    live: np.ndarray
    texts: np.ndarray


def _grow(
    beams: _Beams,
    log_p: np.ndarray,
    t: int,
    size: int,
    powers: np.ndarray,
    ids: SpecialIds,
) -> tuple[_Beams, np.ndarray]:
    """Go on with the best of: texts that stay as they are, and live ones and a word.

    Shapes: log_p (live, V) -> the rows of the state that the new live texts go on from.
    """
    n, width = beams.live.shape
    candidates = _candidates(beams, log_p)
    candidate_powers = np.full(candidates.shape, powers[t + 1])
    candidate_powers[:, :width] = powers[beams.lengths]
    chosen = _best(candidates / candidate_powers, size)
    stays, added = chosen < width, chosen - width
    parents = np.where(stays, chosen, added // log_p.shape[1])
    words = np.where(stays, ids.null, added % log_p.shape[1])
    at = (np.arange(n)[:, None], parents)
    texts = beams.texts[at]
    texts[..., t] = words
    grown = _Beams(
        log_p=np.take_along_axis(candidates, chosen, axis=1),
        lengths=np.where(stays, beams.lengths[at], t + 1),
        ended=np.where(stays, beams.ended[at], words == ids.end),
        live=~stays,
        texts=texts,
    )
    state_rows = np.cumsum(beams.live).reshape(n, width) - 1
    grown = _retire(grown, powers)
    used = grown.live.shape[1]
    return grown, state_rows[at][:, :used][grown.live]


def _candidates(beams: _Beams, log_p: np.ndarray) -> np.ndarray:
    """Log-probabilities of staying (N, W), then of going on by a word (N, W x V).

    Staying comes first, so that of equals the text that ended earlier is preferred.
    """
    stay = np.where(beams.live, -np.inf, beams.log_p)
    grow = np.full((*beams.live.shape, log_p.shape[1]), -np.inf)
    grow[beams.live] = beams.log_p[beams.live][:, None] + log_p
    return np.concatenate([stay, grow.reshape(len(stay), -1)], axis=1)


def _retire(beams: _Beams, powers: np.ndarray) -> _Beams:
    """Let only those live that can still win; drop places that no text has."""
    possible = beams.log_p > -np.inf
    worth = np.where(beams.ended, beams.log_p / powers[beams.lengths], -np.inf)
    hope = np.where(beams.ended, -np.inf, beams.log_p).max(axis=1) / powers[-1]
    open_ = worth.max(axis=1) < hope
    used = slice(int(possible.sum(axis=1).max(initial=1)))
    live = beams.live & ~beams.ended & possible & open_[:, None]
    return _Beams(*(array[:, used] for array in beams._replace(live=live)))


def _follow(
    step: Step, state: Any, shape: tuple[int, int], ids: SpecialIds, choose: Choose
) -> np.ndarray:
    """Say the words that `choose` chooses; texts that have ended leave the batch."""
    said = np.full(shape, ids.null)
    texts = np.arange(shape[0])
    words = np.full(shape[0], ids.start)
    for t in range(shape[1]):
        state, scores = step(state, words)
        words = choose(_normalise(scores, ids), texts, t)
        said[texts, t] = words
        goes_on = np.flatnonzero(words != ids.end)
        if len(goes_on) == 0:
            break
        if len(goes_on) < len(texts):
            state, texts, words = _rows(state, goes_on), texts[goes_on], words[goes_on]
    return said


def _normalise(scores: np.ndarray, ids: SpecialIds) -> np.ndarray:
    """Log-probabilities among the words that may be said. Shapes: (n, V) -> same."""
    allowed = np.array(scores, dtype=np.float64)
    allowed[:, list(ids.never)] = -np.inf
    top = allowed.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError(
            "The network's scores for the next word hold NaN or infinity, or leave no "
            "word to say. Look at its losses: has its training gone wrong?"
        )
    allowed -= top
    return allowed - np.log(np.exp(allowed).sum(axis=1, keepdims=True))


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Where each row's greatest values are, in order. Shapes: (n, M) -> (n, count)."""
    count = min(count, values.shape[1])
    least = np.partition(values, -count, axis=1)[:, -count]
    best = np.empty((len(values), count), dtype=int)
    for row, value, chosen in zip(values, least, best, strict=True):
        # Sorting those few is much faster than sorting the whole row.
        at = np.flatnonzero(row >= value)
        chosen[:] = at[np.argsort(-row[at], kind="stable")][:count]
    return best


def _rows(state: Any, rows: np.ndarray) -> Any:
    """The state of these texts, in this order; a text may be taken several times."""
    if isinstance(state, Mapping):
        return {name: _rows(part, rows) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return tuple(_rows(part, rows) for part in state)
    return state[rows]
