"""How does the judge learn? Settings, minibatches, and the run that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import minigrad as mg
import nn
from apps import run as runs
from apps.app import App
from apps.cola import grammar, report
from apps.cola.data import Corpus, Division, Sentence, load_corpus
from apps.cola.grams import GramJudge, GramReader
from apps.cola.model import (
    ClassificationTransformer,
    Judge,
    SentenceTransformer,
    placed,
)
from apps.cola.reading import Reader, Reading

# The name of the sentences that need no download.
GRAMMAR = "grammar"

COUNTS = (
    "max_train",
    "min_count",
    "max_length",
    "embed_dim",
    "num_heads",
    "hidden_dim",
    "layers",
    "batch",
    "neighbours",
    "epochs",
)
SHARES = ("dropout", "word_dropout", "warmup")


@dataclass(frozen=True)
class Settings:
    """Everything that decides how a run ends, apart from the data's content.

    `data` is a folder or zip in CoLA's layout, or "grammar"; `model` "course" reads and
    judges as the course does, whose sizes it should then be given, and "grams" weighs
    runs of words; `UNHEEDED` tells what these do not ask for. `warmup` is the share of
    steps in which the learning rate rises. So many `neighbours` of the file stay in one
    minibatch: 2 where they are pairs, whose difference is the lesson.
    """

    data: str = GRAMMAR
    division: Division | None = None
    model: Literal["transformer", "course", "grams"] = "transformer"
    max_train: int | None = None
    min_count: int = 1
    max_length: int = 64
    embed_dim: int = 128
    num_heads: int = 4
    hidden_dim: int = 512
    layers: int = 2
    dropout: float = 0.0
    word_dropout: float = 0.0
    lr: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    batch: int = 64
    neighbours: int = 1
    epochs: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: ValueError for a setting with which nothing can be trained."""
        for name in COUNTS:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}, but must be at least 1")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                share = getattr(self, name)
                raise ValueError(f"{name} is {share}, not at least 0, below 1")
        if self.embed_dim % self.num_heads and self.model != "course":
            raise ValueError(
                f"embed_dim {self.embed_dim} does not divide into {self.num_heads} "
                "heads of one width"
            )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, but must be more than 0 and finite")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}, but at least 0")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, but must be at least 0")


# Settings that a model does not heed.
UNHEEDED = {
    "transformer": (),
    "course": ("min_count", "max_length", "layers", "dropout", "word_dropout"),
    "grams": (
        "min_count",
        "max_length",
        "embed_dim",
        "num_heads",
        "hidden_dim",
        "layers",
        "dropout",
        "word_dropout",
    ),
}

# As the course does it; nothing is tuned.
COURSE: dict[str, Any] = {
    "model": "course",
    "embed_dim": 128,
    "num_heads": 2,
    "hidden_dim": 2048,
    "lr": 1e-4,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "batch": 32,
    "epochs": 10,
}

# Of what was tried on CoLA's sentences, the best on whole sources held out.
CHOSEN: dict[str, Any] = {
    "model": "grams",
    "lr": 0.05,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "batch": 256,
    "epochs": 12,
}

RECIPES: dict[str, dict[str, Any]] = {
    "grammar": {"neighbours": 2, "warmup": 0.15},
    "cola": CHOSEN,
    "transformer": {
        "min_count": 2,
        "dropout": 0.3,
        "word_dropout": 0.1,
        "warmup": 0.1,
        "epochs": 6,
    },
    "course": COURSE,
}

# Longest gradient that an update follows.
MAX_NORM = 1.0
# Sentences that are judged side by side.
BATCH = 256


@dataclass(frozen=True)
class Trained:
    """A judge with the settings and the data that it learned from."""

    settings: Settings
    corpus: Corpus
    reader: Reader | GramReader
    model: Judge

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """How likely each text is to be acceptable. Shapes: N texts -> (N,).

        Raises: SentenceError for a text without words.
        """
        readings = [self.reader.read(text) for text in texts]
        self.model.eval()
        with mg.no_grad():
            parts = [
                mg.sigmoid(self.model(self.reader.rows(readings[i : i + BATCH])))
                for i in range(0, len(readings), BATCH)
            ]
        return np.concatenate([part.numpy() for part in parts])


def build(settings: Settings, device: str = "cpu") -> tuple[Trained, runs.Job]:
    """Open the sentences and make an untrained judge and the job of training it.

    Raises: DataError for files that do not hold what they should.
    """
    corpus = open_corpus(settings)
    reader = _reader(settings, corpus)
    generator = mg.Generator(settings.seed)
    model = _model(settings, reader, generator).to(device)
    trained = Trained(settings, corpus, reader, model)
    return trained, _job(trained, generator)


def open_corpus(settings: Settings) -> Corpus:
    """Open the sentences that the settings name; all, or some to learn from.

    Raises: DataError for files that do not hold what they should.
    """
    if settings.data == GRAMMAR:
        corpus = grammar.corpus()
    else:
        corpus = load_corpus(Path(settings.data), settings.division)
    if settings.max_train is None:
        return corpus
    order = np.random.default_rng(settings.seed).permutation(len(corpus.train))
    kept = sorted(order[: settings.max_train].tolist())
    train = tuple(corpus.train[row] for row in kept)
    return replace(corpus, train=train)


def _reader(settings: Settings, corpus: Corpus) -> Reader | GramReader:
    if settings.model == "grams":
        return GramReader.of(corpus.train)
    if settings.model == "course":
        return Reader.of_the_course(corpus)
    return Reader.of(corpus.train, settings.min_count, settings.max_length)


def _model(
    settings: Settings, reader: Reader | GramReader, generator: mg.Generator
) -> Judge:
    if isinstance(reader, GramReader):
        return GramJudge(len(reader.ids), reader.pad)
    common: dict[str, Any] = {
        "pad": reader.pad,
        "max_length": reader.max_length,
        "embed_dim": settings.embed_dim,
        "num_heads": settings.num_heads,
        "hidden_dim": settings.hidden_dim,
        "generator": generator,
    }
    if settings.model == "course":
        return ClassificationTransformer(len(reader.ids), **common)
    return SentenceTransformer(
        len(reader.ids),
        unknown=reader.unknown,
        layers=settings.layers,
        dropout=settings.dropout,
        word_dropout=settings.word_dropout,
        **common,
    )


def _job(trained: Trained, generator: mg.Generator) -> runs.Job:
    settings, train = trained.settings, trained.corpus.train
    readings = _read_all(trained.reader, train)
    labels = np.array([sentence.label for sentence in train], dtype="float32")

    def batches(epoch: int) -> list[np.ndarray]:
        return _together(len(train), settings, epoch)

    def loss(batch: np.ndarray) -> tuple[mg.Tensor, int]:
        ids = trained.reader.rows([readings[row] for row in batch])
        odds = trained.model(ids)
        return nn.bce_with_logits(odds, placed(labels[batch], odds)), len(batch)

    optimizer = nn.AdamW(
        trained.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * len(batches(0))
    warmup = min(int(settings.warmup * steps), steps - 1)
    return runs.Job(
        model=trained.model,
        optimizer=optimizer,
        schedule=nn.CosineWithWarmup(optimizer, warmup, steps),
        generator=generator,
        epochs=settings.epochs,
        batches=batches,
        loss=loss,
        max_norm=MAX_NORM,
        unit="sentences",
        data=trained.corpus.fingerprint,
    )


def _together(count: int, settings: Settings, epoch: int) -> list[np.ndarray]:
    """Minibatches in which neighbours stay together."""
    size = settings.neighbours
    groups = -(-count // size)
    per_batch = max(1, settings.batch // size)
    chosen = runs.minibatches(groups, per_batch, settings.seed, epoch)
    rows = [(own[:, None] * size + np.arange(size)).ravel() for own in chosen]
    return [own[own < count] for own in rows]


def _read_all(
    reader: Reader | GramReader, sentences: Sequence[Sentence]
) -> list[Reading]:
    return [reader.read(sentence.text) for sentence in sentences]


APP = App(Settings, build, lambda run: report.write(run, "training"))
start, resume, load = APP.start, APP.resume, APP.load
