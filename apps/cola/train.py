"""How does the judge learn? Settings, minibatches, and the run that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

import minigrad as mg
import nn
from apps import limits
from apps import run as runs
from apps.app import App, prepared, tell
from apps.cola import grammar, report
from apps.cola.data import Division, load_corpus
from apps.cola.grams import GramJudge, GramReader
from apps.cola.model import (
    ClassificationTransformer,
    Judge,
    SentenceTransformer,
    count_kept,
    count_weights,
    placed,
)
from apps.cola.reading import Reader, Reading
from apps.cola.sentences import Corpus, Sentence
from apps.run_folder import PreparationError, RunFolder

# The name of the sentences that need no download.
GRAMMAR = "grammar"

COUNTS = (
    "max_train",
    "min_count",
    "embed_dim",
    "num_heads",
    "hidden_dim",
    "layers",
    "batch",
    "neighbours",
    "epochs",
)
RANGES = {
    **dict.fromkeys(COUNTS, limits.COUNT),
    **dict.fromkeys(("dropout", "word_dropout", "warmup"), limits.SHARE),
    "max_length": limits.LENGTH,
    "lr": limits.RATE,
    "weight_decay": limits.DECAY,
    "seed": limits.SEED,
}


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
        limits.check(self, RANGES)
        if self.embed_dim % self.num_heads and self.model != "course":
            raise ValueError(
                f"embed_dim {self.embed_dim} does not divide into {self.num_heads} "
                "heads of one width"
            )


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

COURSE_HEAD = 96  # numbers of each of its heads
# Longest gradient that an update follows.
MAX_NORM = 1.0
# Sentences that are judged side by side, and pairs of their positions.
BATCH, MOST_LOOKS = 256, 2**24


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
        # Attention takes the square of the positions.
        longest = max(len(reading.ids) for reading in readings)
        size = max(1, min(BATCH, MOST_LOOKS // longest**2))
        self.model.eval()
        with mg.no_grad():
            parts = [
                mg.sigmoid(self.model(self.reader.rows(readings[i : i + size])))
                for i in range(0, len(readings), size)
            ]
        return np.concatenate([part.numpy() for part in parts])


def build(
    settings: Settings,
    device: str = "cpu",
    preparation: Mapping[str, Any] | None = None,
) -> tuple[Trained, runs.Job]:
    """Open the sentences and make an untrained judge and the job of training it.

    A run's own `preparation` has the words that it began with; without one, they are
    those of the training sentences.

    Raises: DataError for files that do not hold what they should; PreparationError for
    a preparation that is none; NetworkError.
    """
    corpus = open_corpus(settings)
    reader = reader_of(preparation) if preparation else _reader(settings, corpus)
    generator = mg.Generator(settings.seed)
    model = _model(settings, reader, generator).to(device)
    trained = Trained(settings, corpus, reader, model)
    return trained, _job(trained, generator)


def load_judge(path: Path, console: Console, device: str = "cpu") -> Trained:
    """Load what a run has trained, without the sentences: to judge others needs none.

    Raises: RunError if the run cannot be read.
    """
    run = RunFolder.open(path)
    settings = run.settings(Settings)
    if not run.preparation_path.exists():
        return load(path, console, device)  # the run is older than that file
    with prepared(run) as kept:
        reader = reader_of(kept)
    model = _model(settings, reader, mg.Generator(settings.seed)).to(device)
    runs.restore_model(model, run)
    tell(device, console)
    return Trained(settings, Corpus(settings.data, (), ()), reader, model)


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


def reader_of(preparation: Mapping[str, Any]) -> Reader | GramReader:
    """The reader that a run began with. Raises: PreparationError if it has none."""
    try:
        tokens, kind = preparation["tokens"], preparation["kind"]
        if not all(type(token) is str for token in tokens):
            raise ValueError("its tokens must be texts")
        if kind == "grams":
            ids = {token: number for number, token in enumerate(tokens)}
            return GramReader(frozenset(preparation["common"]), ids)
        return Reader.again(tokens, preparation["max_length"], kind == "course")
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise PreparationError(str(why)) from error


def _prepare(trained: Trained) -> dict[str, Any]:
    """What a run keeps of its data, as JSON has it."""
    reader = trained.reader
    kept: dict[str, Any] = {
        "data": trained.corpus.fingerprint,
        "kind": trained.settings.model,
        "tokens": sorted(reader.ids, key=reader.ids.__getitem__),
    }
    if isinstance(reader, GramReader):
        return {**kept, "common": sorted(reader.common)}
    return {**kept, "max_length": reader.max_length}


def _check_size(settings: Settings, reader: Reader) -> None:
    """Raises: NetworkError for a network that would not fit, before it is made."""
    weights = count_weights(
        len(reader.ids),
        reader.max_length,
        settings.embed_dim,
        _inner(settings),
        settings.hidden_dim,
        settings.layers,
        settings.model == "course",
    )
    options = "--hidden-dim, --embed-dim, --layers or --num-heads"
    limits.check_weights(weights, options)


def _check_minibatch(settings: Settings, readings: Sequence[Reading]) -> None:
    """Raises: NetworkError for sentences that are too much at once."""
    longest = max(len(reading.ids) for reading in readings)
    sizes = (settings.embed_dim, _inner(settings), settings.hidden_dim)
    layers = 1 if settings.model == "course" else settings.layers
    one = count_kept(longest, *sizes, settings.num_heads, layers)
    batch = min(max(settings.batch, settings.neighbours), len(readings))
    options = "--batch, --max-length, --hidden-dim or --layers"
    limits.check_minibatch(batch * one, options)


def _inner(settings: Settings) -> int:
    """The width of all heads together."""
    if settings.model == "course":
        return COURSE_HEAD * settings.num_heads
    return settings.embed_dim


def _model(
    settings: Settings, reader: Reader | GramReader, generator: mg.Generator
) -> Judge:
    if isinstance(reader, GramReader):
        return GramJudge(len(reader.ids), reader.pad)
    _check_size(settings, reader)
    common: dict[str, Any] = {
        "pad": reader.pad,
        "max_length": reader.max_length,
        "embed_dim": settings.embed_dim,
        "num_heads": settings.num_heads,
        "hidden_dim": settings.hidden_dim,
        "generator": generator,
    }
    if settings.model == "course":
        return ClassificationTransformer(
            len(reader.ids), head_dim=COURSE_HEAD, **common
        )
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
    if settings.model != "grams":
        _check_minibatch(settings, readings)
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
        preparation=_prepare(trained),
    )


def _together(count: int, settings: Settings, epoch: int) -> list[np.ndarray]:
    """Minibatches in which neighbours stay together."""
    size = min(settings.neighbours, count)
    groups = -(-count // size)
    per_batch = max(1, settings.batch // size)
    chosen = runs.minibatches(groups, per_batch, settings.seed, epoch)
    rows = [(own[:, None] * size + np.arange(size)).ravel() for own in chosen]
    return [own[own < count] for own in rows]


def _read_all(
    reader: Reader | GramReader, sentences: Sequence[Sentence]
) -> list[Reading]:
    return [reader.read(sentence.text) for sentence in sentences]


APP = App("cola", Settings, build, report.write)
start, resume, load = APP.start, APP.resume, APP.load
