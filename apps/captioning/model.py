"""Captioner: a recurrent network whose first state is the picture.

Glossary of shapes: N batch, D input_dim, T time steps, W wordvec_dim, H hidden_dim,
V words in the vocabulary.
Source: Vinyals, Toshev, Bengio, Erhan, Show and Tell (2015), in the form of the CS231n
coursework, where the picture gives the first hidden state and not the first input.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps.captioning import decode
from apps.captioning.layout import END, NULL, START, UNKNOWN
from apps.captioning.settings import Decoding
from nn.functional import temporal_softmax_loss

CELLS: dict[str, Any] = {
    "rnn": nn.RNN,
    "lstm": functools.partial(nn.LSTM, forget_bias=1.0),
    "gru": nn.GRU,
}
# What a cell computes from the word and the state, each as wide as the state.
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


class Captioner(nn.Module):
    """Picture features -> first state; word vectors -> recurrent layer -> word scores.

    Shapes: features (N, D), captions (N, T) of word ids; both are taken to the device
    that the parameters are on.
    Raises: ValueError for an unknown cell or a vocabulary without `<NULL>`.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        input_dim: int,
        wordvec_dim: int,
        hidden_dim: int,
        cell: str = "rnn",
        dtype: str = "float32",
        *,
        dropout: float = 0.0,
        generator: mg.Generator | None = None,
    ) -> None:
        _check(vocabulary, cell)
        made: Any = {"dtype": dtype, "generator": generator}
        self.vocabulary = vocabulary
        self.cell = cell
        self.project = nn.Linear(input_dim, hidden_dim, **made)
        self.embed = nn.Embedding(len(vocabulary), wordvec_dim, **made)
        self.recur = CELLS[cell](wordvec_dim, hidden_dim, **made)
        self.score = nn.Linear(hidden_dim, len(vocabulary), **made)
        self.dropout = nn.Dropout(dropout, generator=generator)
        # Small word vectors, so that they do not drown out the picture at first.
        self.embed.W.data *= 0.3

    def loss(self, features: Any, captions: np.ndarray) -> mg.Tensor:
        """Cross-entropy of each next word, summed over a caption, averaged over N."""
        words, targets = self._here(captions[:, :-1]), self._here(captions[:, 1:])
        scores, _ = self._read(words, self.first_state(features))
        mask = targets != self.vocabulary[NULL]
        return temporal_softmax_loss(scores, targets, mask)

    def first_state(self, features: Any) -> Any:
        """The picture as the first hidden state. Shapes: features (N, D)."""
        h = self.project(self._here(features))
        return self.recur.initial_state(len(features), h)

    def _here(self, values: Any) -> mg.Tensor:
        """The values as a Tensor on the parameters' device."""
        tensor = values if isinstance(values, mg.Tensor) else mg.asarray(values)
        return tensor.to(self.score.W.device)

    def step(self, state: Any, words: np.ndarray) -> tuple[Any, np.ndarray]:
        """Read one word of each text: what `decode` asks of a network.

        Shapes: words (N,) -> the state after them, the next words' scores (N, V).
        """
        scores, state = self._read(self._here(words[:, None]), state)
        return state, scores.numpy()[:, 0]

    def _read(self, words: mg.Tensor, state: Any) -> tuple[mg.Tensor, Any]:
        """Read words (N, T); give each next word's scores (N, T, V), and the state."""
        vectors = self.dropout(self.embed(words))
        outputs, state = self.recur(vectors, state)
        return self.score(self.dropout(outputs)), state

    def sample(
        self,
        features: Any,
        max_length: int = 30,
        how: Decoding | None = None,
        numbers: Sequence[decode.Number] | None = None,
    ) -> np.ndarray:
        """Say each picture's caption, greedily unless `how` says otherwise.

        `numbers` are the pictures' own (by default 0 to N - 1); with the seed they
        decide what is drawn for each.

        Shapes: features (N, D), N numbers -> ids (N, max_length), padded after `<END>`.
        Raises: ValueError if the vocabulary has no `<START>` or no `<END>`.
        """
        how = how or Decoding()
        ids = special_ids(self.vocabulary, how.allow_unknown)
        training = self.training
        self.eval()
        try:
            with mg.no_grad():
                state = self.first_state(features)
                numbers = range(len(features)) if numbers is None else numbers
                return decode.decode(self.step, state, numbers, max_length, ids, how)
        finally:
            self.train(training)


class Ensemble(Captioner):
    """Captioners that learn side by side and decide by their mean probabilities.

    Raises: ValueError if there are no members.
    Source: Vinyals et al. (as above), section 4.3.2.
    """

    def __init__(self, members: Sequence[Captioner]) -> None:
        if not members:
            raise ValueError("Ensemble of no captioners: give at least one.")
        self.vocabulary = members[0].vocabulary
        self.members = nn.ModuleList(members)

    def loss(self, features: Any, captions: np.ndarray) -> mg.Tensor:
        """The mean of the members' losses: each learns as it would alone."""
        losses = [member.loss(features, captions) for member in self.members]
        return mg.stack(losses).mean()

    def first_state(self, features: Any) -> list[Any]:
        """The members' states before the first word."""
        return [member.first_state(features) for member in self.members]

    def step(self, state: list[Any], words: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Read one word of each text; give the states and the log of the mean p."""
        steps = [m.step(s, words) for m, s in zip(self.members, state, strict=True)]
        states, scores = zip(*steps, strict=True)
        log_p = [s - np.logaddexp.reduce(s, axis=1, keepdims=True) for s in scores]
        return list(states), np.logaddexp.reduce(log_p) - np.log(len(steps))


def count_weights(V: int, D: int, cell: str, W: int, H: int) -> int:
    """How many weights a `Captioner` has, without making it."""
    # The GRU has two biases: its reset gate lies between the two products.
    biases = 6 if cell == "gru" else GATES[cell]
    recurrent = GATES[cell] * H * (W + H) + biases * H
    return (D + 1) * H + V * W + recurrent + (H + 1) * V


def count_kept(V: int, cell: str, W: int, H: int) -> int:
    """About how many numbers a `Captioner` keeps of one word for the backward pass."""
    return 2 * W + (2 * GATES[cell] + 4) * H + 3 * V


def special_ids(vocabulary: dict[str, int], allow_unknown: bool) -> decode.SpecialIds:
    """Find the ids that mean something else than a word.

    Raises: ValueError if captions can be neither begun nor ended.
    """
    missing = [word for word in (START, END) if word not in vocabulary]
    if missing:
        raise ValueError(
            f"The vocabulary lacks {' and '.join(missing)}, so a caption can be "
            "neither begun nor ended. Train with captions that use them."
        )
    never = [NULL, START] if allow_unknown else [NULL, START, UNKNOWN]
    return decode.SpecialIds(
        null=vocabulary[NULL],
        start=vocabulary[START],
        end=vocabulary[END],
        never=tuple(vocabulary[word] for word in never if word in vocabulary),
    )


def _check(vocabulary: dict[str, int], cell: str) -> None:
    if cell not in CELLS:
        raise ValueError(
            f"Captioner: cell is {cell!r}; give one of {', '.join(map(repr, CELLS))}."
        )
    if NULL not in vocabulary:
        raise ValueError(
            f"Captioner: the vocabulary has no {NULL} for padding. Add {NULL} to it."
        )
