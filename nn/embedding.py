"""Embeddings: vectors of words, and of positions, since attention sees a set.

Glossary of shapes: N batch, T positions, V words in the vocabulary, D width.
"""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.ops.sources import beside
from minigrad.tape import constant
from nn import init
from nn.checks import array_of, check_ids, check_size, integer_array
from nn.dtypes import floats
from nn.module import Module, Parameter


def word_embedding(ids: Any, table: Any) -> Any:
    """Give the rows of a table that integer ids name; repeated ids share a row.

    Shapes: ids (...), usually (N, T), table (V, D), output (..., D).
    Raises: TypeError for ids that are no integers, ValueError for ids out of range.
    """
    (table,) = floats("word_embedding", "table (V, D)", table)
    ids = integer_array("word_embedding", "ids", ids)
    check_ids("word_embedding", "ids", ids, below=table.shape[0])
    return mg.take(table, ids, axis=0)


class Embedding(Module):
    """Row look-up: each integer id becomes its row of the table W.

    Shapes and errors: as `word_embedding`, V num_embeddings and D embedding_dim. W
    starts as `init.normal`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        sizes = {"num_embeddings": num_embeddings, "embedding_dim": embedding_dim}
        check_size("Embedding", **sizes)
        shape = (num_embeddings, embedding_dim)
        self.W = Parameter(init.normal(shape, generator, dtype))

    def forward(self, ids: Any) -> Any:
        """Give the rows of W that the ids name."""
        return word_embedding(ids, self.W)


class LearnedPositions(Module):
    """Add a learned vector to each position.

    Shapes: x (N, T, D) with T <= max_length, W (max_length, D), output (N, T, D). W
    starts as `init.normal` of standard deviation 0.02.
    Raises: ValueError for sizes below 1 and for a longer sequence.
    Source: Gehring et al., Convolutional Sequence to Sequence Learning (2017), 3.1.
    """

    def __init__(
        self,
        max_length: int,
        embed_dim: int,
        *,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size("LearnedPositions", max_length=max_length, embed_dim=embed_dim)
        shape = (max_length, embed_dim)
        self.W = Parameter(init.normal(shape, generator, dtype, std=0.02))

    def forward(self, x: Any) -> Any:
        """Give x with each position's vector added."""
        W, x = floats("LearnedPositions", "W (L, D), x (..., T, D)", self.W, x)
        T = x.shape[-2]
        if W.shape[0] < T:
            raise ValueError(
                f"LearnedPositions: the sequence has {T} positions, but only "
                f"{W.shape[0]} have a vector. Shorten it, or make the layer longer."
            )
        return x + W[:T]


class SinusoidalPositions(Module):
    """Add waves to each position: from one every 2 pi positions to ever longer ones.

    Shapes: x (N, T, D), output (N, T, D). Nothing is learned, and T is not bounded.
    Raises: ValueError for a width that is not even.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.5.
    """

    def __init__(self, embed_dim: int) -> None:
        check_size("SinusoidalPositions", embed_dim=embed_dim)
        if embed_dim % 2:
            raise ValueError(
                f"SinusoidalPositions: embed_dim is {embed_dim}, but each wave takes "
                "two elements, a sine and a cosine. Give an even width."
            )
        self.embed_dim = embed_dim

    def forward(self, x: Any) -> Any:
        """Give x with each position's vector added."""
        (x,) = floats("SinusoidalPositions", f"x (..., T, {self.embed_dim})", x)
        waves = constant(sinusoids(x.shape[-2], self.embed_dim).astype(x.dtype))
        return x + beside(waves, array_of(x))


def sinusoids(length: int, embed_dim: int) -> np.ndarray:
    """Sines in the even elements and cosines in the odd ones. Shapes: -> (T, D)."""
    rates = 10_000.0 ** (-np.arange(0, embed_dim, 2) / embed_dim)
    angles = np.arange(length)[:, None] * rates
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)
