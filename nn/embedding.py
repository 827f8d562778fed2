"""Word vectors: a table with one row for each word.

Glossary of shapes: N batch, T time steps, V words in the vocabulary, D width.
"""

from typing import Any

import minigrad as mg
from nn import init
from nn.checks import check_ids, check_size, integer_array
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
