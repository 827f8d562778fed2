"""Transformers that judge sentences: the course's model, and one of our own.

Both give the log-odds that a sentence is acceptable, and their attention.

Glossary of shapes: N sentences, T positions (words, a mark for the sentence, padding),
D width of the model, H heads, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
import nn

START = 0.1  # standard deviation of the first vectors of words and positions
BELOW_ALL = -1e9  # normalised vectors have no element as small as this


def placed(values: Any, beside: mg.Tensor) -> mg.Tensor:
    """An array, or a Tensor as in a compiled step, on the device of another."""
    tensor = values if isinstance(values, mg.Tensor) else mg.asarray(values)
    return tensor.to(beside.device)


class Judge(nn.Module):
    """What all judges can do, given `embed` and `decide`.

    `embed` gives each word its vector: (N, T) -> (N, T, D). `decide` gives the log-odds
    from the layers' outputs and where no padding is: (N, T, D), (N, T) -> (N,).
    """

    pad: int
    layers: Sequence[nn.TransformerEncoderLayer]

    def visible(self, ids: np.ndarray) -> mg.Tensor:
        """Where no padding is, on the model's device. Shapes: (N, T) -> same, bool."""
        return placed(ids, next(self.parameters())) != self.pad

    def mask(self, ids: np.ndarray) -> Any:
        """Which keys are visible, None for all. Shapes: (N, T) -> (N, 1, T)."""
        return self.visible(ids)[:, None]

    def judge(self, x: Any, ids: np.ndarray) -> Any:
        """Judge embedded sentences. Shapes: (N, T, D), (N, T) -> (N,)."""
        mask = self.mask(ids)
        for layer in self.layers:
            x = layer(x, mask)
        return self.decide(x, self.visible(ids))

    def forward(self, ids: np.ndarray) -> Any:
        """Give the log-odds of each sentence. Shapes: (N, T) -> (N,)."""
        return self.judge(self.embed(ids), ids)

    def attributions(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Each word's saliency: the norm of its vector's gradient.

        Shapes: x and the gradient of the log-odds (..., T, D) -> (..., T).
        """
        return np.linalg.norm(gradient, axis=-1)

    def attention(self, ids: np.ndarray) -> list[np.ndarray]:
        """Each layer's attention weights. Shapes: L of (N, H, T, T)."""
        mask = self.mask(ids)
        found = []
        with mg.no_grad():
            x = self.embed(ids)
            for layer in self.layers:
                seen = layer.attention_norm(x) if layer.norm_first else x
                found.append(layer.attention.weights(seen, mask=mask).numpy())
                x = layer(x, mask)
        return found


class ClassificationTransformer(Judge):
    """Word ids -> one encoder layer -> the first position's vector -> one number.

    Nothing hides the padding, and both normalisations of the layer share their
    weights: the course has it so.

    Shapes: ids (N, T) -> (N,).
    Raises: ValueError where T is more than `max_length`.
    Source: Georgia Tech's CS 7643, assignment on Transformers for CoLA.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        pad: int = 0,
        max_length: int = 43,
        embed_dim: int = 128,
        num_heads: int = 2,
        head_dim: int = 96,
        hidden_dim: int = 2048,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        made: Any = {"dtype": dtype, "generator": generator}
        self.pad = pad
        self.words = nn.Embedding(vocabulary, embed_dim, **made)
        self.positions = nn.LearnedPositions(max_length, embed_dim, **made)
        self.layer = nn.TransformerEncoderLayer(
            embed_dim, num_heads, hidden_dim, head_dim=head_dim, **made
        )
        self.layer.feed_forward_norm = self.layer.attention_norm
        self.out = nn.Linear(embed_dim, 1, **made)

    @property
    def layers(self) -> Sequence[nn.TransformerEncoderLayer]:  # type: ignore[override]
        """The only one."""
        return [self.layer]

    def mask(self, ids: np.ndarray) -> None:
        """Nothing is hidden, not even the padding."""

    def embed(self, ids: np.ndarray) -> Any:
        """Add each word's vector and its position's. Shapes: (N, T) -> (N, T, D)."""
        return self.positions(self.words(ids))

    def attend(self, x: Any) -> Any:
        """Self-attention, added and normalised. Shapes: (N, T, D) -> same."""
        return self.layer.attention_norm(x + self.layer.attention(x))

    def feed_forward(self, x: Any) -> Any:
        """Feed-forward network, added and normalised. Shapes: (N, T, D) -> same."""
        return self.layer.feed_forward_norm(x + self.layer.feed_forward(x))

    def judge(self, x: Any, ids: np.ndarray) -> Any:
        """Judge embedded sentences. Shapes: (N, T, D), (N, T) -> (N,).

        Only the first position is a query, for no other output is read.
        """
        layer, first = self.layer, x[:, :1]
        attended = layer.attention_norm(first + layer.attention(first, x))
        return self.decide(self.feed_forward(attended))

    def decide(self, x: Any, visible: Any = None) -> Any:
        """The log-odds from the first position. Shapes: (N, T, D) -> (N,)."""
        return self.out(x[:, 0])[:, 0]


class SentenceTransformer(Judge):
    """Word ids -> encoder layers -> mean and largest of the words' vectors -> a number.

    Padding is hidden, so that it never changes an answer, and the layers normalise
    first. In training some words are made unknown, whole words at a time.

    Shapes: ids (N, T) -> (N,).
    Raises: ValueError where T is more than `max_length`.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        pad: int = 0,
        unknown: int = 1,
        max_length: int = 64,
        embed_dim: int = 64,
        num_heads: int = 4,
        hidden_dim: int = 256,
        layers: int = 2,
        dropout: float = 0.1,
        word_dropout: float = 0.0,
        generator: mg.Generator | None = None,
    ) -> None:
        made: Any = {"generator": generator}
        self.pad, self.unknown = pad, unknown
        self.word_dropout = word_dropout
        self.generator = generator
        self.words = nn.Embedding(vocabulary, embed_dim, **made)
        self.positions = nn.LearnedPositions(max_length, embed_dim, **made)
        self.dropout = nn.Dropout(dropout, **made)
        inside = {"dropout": dropout, "activation": "gelu", "norm_first": True, **made}
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(embed_dim, num_heads, hidden_dim, **inside)
            for _ in range(layers)
        )
        # Alike in size, so that a position says as much as a word from the start.
        for table in (self.words, self.positions):
            table.W.data = nn.init.normal(table.W.shape, generator, std=START)
        self.norm = nn.LayerNorm(embed_dim)
        self.out = nn.Linear(2 * embed_dim, 1, **made)

    @property
    def layers(self) -> Sequence[nn.TransformerEncoderLayer]:  # type: ignore[override]
        """The encoder's."""
        return list(self.encoder.layers)

    def embed(self, ids: Any) -> Any:
        """Add each word's vector and its position's. Shapes: (N, T) -> (N, T, D)."""
        if self.training and self.word_dropout:
            ids = self._drop_words(placed(ids, self.words.W))
        return self.dropout(self.positions(self.words(ids)))

    def decide(self, x: Any, visible: Any) -> Any:
        """The log-odds from all words. Shapes: (N, T, D), (N, T) -> (N,)."""
        x = self.norm(x)
        weights = visible / mg.sum(visible, axis=1, keepdims=True)
        mean = (x * weights[..., None].astype(x.dtype)).sum(axis=1)
        largest = mg.where(visible[..., None], x, BELOW_ALL).max(axis=1)
        return self.out(mg.concatenate([mean, largest], axis=-1))[:, 0]

    def _drop_words(self, ids: mg.Tensor) -> mg.Tensor:
        dropped = mg.bernoulli(ids.shape, self.word_dropout, self.generator, ids.device)
        return mg.where(dropped & (ids != self.pad), self.unknown, ids)


def count_weights(
    V: int, T: int, D: int, inner: int, hidden: int, layers: int, course: bool = False
) -> int:
    """How many weights a Transformer has; `inner` is the width of all heads."""
    attention = 4 * D * inner + 3 * inner + D
    feed_forward = 2 * D * hidden + hidden + D
    if course:  # both norms of its layer share their weights, and no other follows
        return (V + T) * D + attention + feed_forward + 2 * D + D + 1
    layer = attention + feed_forward + 4 * D
    return (V + T) * D + layers * layer + 2 * D + 2 * D + 1


def count_kept(T: int, D: int, inner: int, hidden: int, heads: int, layers: int) -> int:
    """About how many numbers T positions leave for the backward pass."""
    attention = 3 * heads * T * T + 4 * T * inner
    return layers * (attention + T * (8 * D + 4 * hidden)) + 4 * T * D
