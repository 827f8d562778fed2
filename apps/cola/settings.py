"""Settings of the judge of sentences, and the recipes to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from apps import limits, settings
from apps.limits import COUNT, FRACTION
from apps.settings import setting

# The name of the sentences that need no download.
GRAMMAR = "grammar"

Division = Literal["course", "published"]
# Which recipes heed a setting.
OURS = ("grammar", "transformer")
BOTH = (*OURS, "course")


@dataclass(frozen=True)
class Settings(settings.Settings):
    """Everything that decides how a run ends, apart from the data's content."""

    data: str = setting(
        "The sentences: a folder or zip in CoLA's layout, or the small grammar.",
        GRAMMAR,
    )
    division: Division | None = setting(
        "Train on CoLA's first 7,000 sentences, or on the whole file.",
        None,
        told="course for CoLA itself, else published",
    )
    model: Literal["transformer", "course", "grams"] = setting(
        "A Transformer, the course's, or weights of runs of words (grams).",
        "transformer",
        option=False,
    )
    max_train: int | None = setting(
        "Learn from so many sentences, chosen by the seed.", None, COUNT, told="all"
    )
    min_count: int = setting(
        "Words seen less often in training are unknown.", 1, COUNT, recipe=OURS
    )
    max_length: int = setting(
        "Words read of a sentence, and its mark.", 64, limits.LENGTH, recipe=OURS
    )
    embed_dim: int = setting("Numbers that stand for a word.", 128, COUNT, recipe=BOTH)
    num_heads: int = setting("Attention heads side by side.", 4, COUNT, recipe=BOTH)
    hidden_dim: int = setting(
        "Width of each layer's feed-forward network.", 512, COUNT, recipe=BOTH
    )
    layers: int = setting("Encoder layers in a row.", 2, COUNT, recipe=OURS)
    dropout: float = setting(
        "Fraction of numbers left out in training.", 0.0, FRACTION, recipe=OURS
    )
    word_dropout: float = setting(
        "Fraction of words made unknown in training.", 0.0, FRACTION, recipe=OURS
    )
    lr: float = setting("The highest learning rate.", 1e-3, limits.RATE)
    warmup: float = setting(
        "Fraction of the steps in which the rate rises; then it falls.", 0.1, FRACTION
    )
    weight_decay: float = setting(
        "How far a step moves weights towards 0.", 0.01, limits.DECAY
    )
    batch: int = setting("Sentences a step.", 64, COUNT)
    # 2 where they are pairs, whose difference is the lesson.
    neighbours: int = setting("Neighbours that stay in one minibatch.", 1, COUNT)
    epochs: int = setting("Times to go through all sentences.", 4, COUNT)
    seed: int = setting("Same seed, same result.", 0, limits.SEED, told="0")

    def __post_init__(self) -> None:
        """Raises: ValueError for a setting with which nothing can be trained."""
        super().__post_init__()
        if self.embed_dim % self.num_heads and self.model != "course":
            raise ValueError(
                f"embed_dim {self.embed_dim} does not divide into {self.num_heads} "
                "heads of one width"
            )


RECIPES: dict[str, dict[str, Any]] = {
    "grammar": {"neighbours": 2, "warmup": 0.15},
    # Of what was tried on CoLA's sentences, the best on whole sources held out.
    "cola": {
        "model": "grams",
        "lr": 0.05,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "batch": 256,
        "epochs": 12,
    },
    "transformer": {
        "min_count": 2,
        "dropout": 0.3,
        "word_dropout": 0.1,
        "epochs": 6,
    },
    # As the course does it; nothing is tuned.
    "course": {
        "model": "course",
        "embed_dim": 128,
        "num_heads": 2,
        "hidden_dim": 2048,
        "lr": 1e-4,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "batch": 32,
        "epochs": 10,
    },
}
