"""How does a Transformer judge a sentence? The course's model, part by part.

Glossary of shapes: N sentences, T positions (a mark that stands for the sentence first,
then its words, then padding), D width of the model, H heads.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
import nn


class ClassificationTransformer(nn.Module):
    """Word ids -> one encoder layer -> the first position's vector -> one number.

    The number is the logarithm of the odds that the sentence is acceptable. Nothing
    hides the padding, and both normalisations of the layer share their weights: the
    course has it so.

    Shapes: ids (N, T) -> (N,).
    Raises: ValueError where T is more than `max_length`.
    Source: Georgia Tech's CS 7643, assignment on Transformers for CoLA.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        max_length: int = 43,
        embed_dim: int = 128,
        num_heads: int = 2,
        head_dim: int = 96,
        hidden_dim: int = 2048,
        generator: mg.Generator | None = None,
    ) -> None:
        made: Any = {"generator": generator}
        self.words = nn.Embedding(vocabulary, embed_dim, **made)
        self.positions = nn.LearnedPositions(max_length, embed_dim, **made)
        self.layer = nn.TransformerEncoderLayer(
            embed_dim, num_heads, hidden_dim, head_dim=head_dim, **made
        )
        self.layer.feed_forward_norm = self.layer.attention_norm
        self.out = nn.Linear(embed_dim, 1, **made)

    def embed(self, ids: Any) -> Any:
        """Add each word's vector and its position's. Shapes: (N, T) -> (N, T, D)."""
        return self.positions(self.words(ids))

    def attend(self, x: Any) -> Any:
        """Let each position look at all, and normalise. Shapes: (N, T, D) -> same."""
        return self.layer.attention_norm(x + self.layer.attention(x))

    def feed_forward(self, x: Any) -> Any:
        """Think about each position alone, and normalise. Shapes: (N, T, D) -> same."""
        return self.layer.feed_forward_norm(x + self.layer.feed_forward(x))

    def judge(self, x: Any) -> Any:
        """Read the verdict from the first position. Shapes: (N, T, D) -> (N,)."""
        return self.out(x[:, 0])[:, 0]

    def forward(self, ids: Any) -> Any:
        """Give the logarithm of the odds of each sentence. Shapes: (N, T) -> (N,)."""
        return self.judge(self.feed_forward(self.attend(self.embed(ids))))
