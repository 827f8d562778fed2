"""Settings of the captioner: what it learns by, and how it chooses words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from apps import limits, settings
from apps.errors import UserError
from apps.limits import COUNT, FRACTION
from apps.settings import setting

# The short features of a picture, or the full ones; words, or letters.
Width = Literal["pca", "full"]
Tokens = Literal["word", "char"]


class DecodingError(UserError, ValueError):
    """Words cannot be chosen as asked."""


@dataclass(frozen=True)
class Decoding(settings.Settings):
    """How words are chosen. What another way of choosing would use is ignored.

    Raises: ValueError for a value that makes no sense.
    """

    how: Literal["greedy", "sample", "beam", "mbr"] = setting(
        "Choosing words: the likeliest next one; one drawn by its probability; the "
        "likeliest whole caption that a search finds; or, of many drawn captions, the "
        "one most like the others (minimum Bayes risk).",
        "greedy",
        told="greedy, or as the run was trained",
    )
    beam_size: int = setting(
        "Captions followed at once; 1 is greedy.", 5, limits.BEAMS, how=("beam",)
    )
    length_penalty: float = setting(
        "Compare log-probability / words ** this; more than 0 favours longer captions.",
        0.0,
        limits.PENALTY,
        how=("beam",),
    )
    draws: int = setting("Captions drawn a picture.", 100, limits.DRAWS, how=("mbr",))
    temperature: float = setting(
        "Below 1 more cautious, above 1 more daring.",
        1.0,
        limits.TEMPERATURE,
        how=("sample", "mbr"),
    )
    top_k: int | None = setting(
        "Draw from this many likeliest words.",
        None,
        COUNT,
        told="all",
        how=("sample", "mbr"),
    )
    seed: int = setting(
        "Same seed, same draws.", 0, limits.SEED, option=False, how=("sample", "mbr")
    )
    allow_unknown: bool = setting(
        "Let it choose <UNK>, which is then left out of the caption.", False
    )

    def check_vocabulary(self, size: int) -> None:
        """Make sure that there are `top_k` words to choose from.

        Raises: DecodingError if there are fewer.
        """
        if self.top_k is not None and self.top_k > size:
            raise DecodingError(
                f"top_k is {self.top_k}, but must be at most {size}, the words in the "
                "vocabulary."
            )

    @property
    def width(self) -> int:
        """How many texts are followed at once for each one that is asked for."""
        return {"beam": self.beam_size, "mbr": self.draws}.get(self.how, 1)


@dataclass(frozen=True)
class Settings(settings.Settings):
    """Everything that decides how a run ends, apart from the data's content."""

    data: str = setting("The folder with pictures' features and captions.")
    features: Width = setting("A picture's short features, or the full ones.", "pca")
    tokens: Tokens = setting("Read and say one word at a time, or one letter.", "word")
    max_train: int | None = setting(
        "Learn from so many captions, chosen by the seed.", None, COUNT, told="all"
    )
    cell: Literal["rnn", "lstm", "gru"] = setting("The recurrent layer.", "lstm")
    wordvec_dim: int = setting("Numbers that stand for a word, or letter.", 256, COUNT)
    hidden_dim: int = setting("Numbers in the recurrent layer's state.", 512, COUNT)
    members: int = setting(
        "Networks that learn side by side and decide together.", 1, COUNT
    )
    dropout: float = setting(
        "Fraction of word vectors and outputs dropped in training.", 0.5, FRACTION
    )
    lr: float = setting(
        "Adam's first learning rate; a cosine lowers it to 0.", 2e-3, limits.RATE
    )
    batch: int = setting("Captions a step.", 64, COUNT)
    epochs: int = setting("Times to go through all captions.", 12, COUNT)
    seed: int = setting("Same seed, same result.", 0, limits.SEED)
    decoding: Decoding = setting("How words are chosen.", Decoding())


# The drawn pictures are simple: a smaller network learns them within two minutes. The
# GRU, whose state is the picture from its first step on, needs fewer than the LSTM.
DEMO: dict[str, Any] = {
    "cell": "gru",
    "wordvec_dim": 64,
    "hidden_dim": 128,
    "dropout": 0.0,
    "lr": 3e-3,
    "epochs": 10,
}
