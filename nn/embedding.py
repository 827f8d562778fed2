"""How do words become vectors? A table with one row for each word."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from nn import functional, init
from nn.checks import check_size
from nn.module import Module, Parameter


class Embedding(Module):
    """Row look-up: each integer id becomes its row of the table W.

    Shapes: ids (...) of integers below num_embeddings, W (num_embeddings,
    embedding_dim), output (..., embedding_dim). W starts as `init.normal`.
    Raises: TypeError for ids that are no integers, ValueError for ids out of range.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size(
            "Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim
        )
        shape = (num_embeddings, embedding_dim)
        self.W = Parameter(init.normal(shape, generator, dtype))

    def forward(self, ids: Any) -> Any:
        """Give the rows of W that the ids name."""
        return functional.word_embedding(ids, self.W)
