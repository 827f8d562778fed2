"""Training of the judge: its sentences, its model, and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps import limits
from apps.cola import grammar
from apps.cola.data import load_corpus
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
from apps.cola.sentences import Corpus
from apps.cola.settings import GRAMMAR, Settings
from apps.job import Job, minibatches, some
from apps.run_folder import PreparationError

COURSE_HEAD = 96  # numbers of each of its heads
MAX_NORM = 1.0  # the gradient norm is clipped to this
# Sentences judged at once, and the most pairs of their positions.
BATCH, MOST_PAIRS = 256, 2**24


@dataclass(frozen=True)
class Trained:
    """A judge with its settings and its training data."""

    settings: Settings
    corpus: Corpus
    reader: Reader | GramReader
    model: Judge

    @cached_property
    def readings(self) -> list[Reading]:
        """The training sentences as the model reads them."""
        return [self.reader.read(sentence.text) for sentence in self.corpus.train]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The minibatches of an epoch, in which neighbours stay together."""
        settings, count = self.settings, len(self.corpus.train)
        size = min(settings.neighbours, count)
        groups, per_batch = -(-count // size), max(1, settings.batch // size)
        chosen = minibatches(groups, per_batch, settings.seed, epoch)
        rows = [(own[:, None] * size + np.arange(size)).ravel() for own in chosen]
        return [own[own < count] for own in rows]

    def inputs(self, batch: np.ndarray) -> tuple[tuple[np.ndarray, ...], int]:
        """The ids and labels of a minibatch, and its number of sentences."""
        ids = self.reader.rows([self.readings[row] for row in batch])
        labels = [self.corpus.train[row].label for row in batch]
        return (ids, np.array(labels, dtype="float32")), len(batch)

    def loss(self, ids: Any, labels: Any) -> mg.Tensor:
        """The cross-entropy of the labels, averaged over the sentences."""
        odds = self.model(ids)
        return nn.bce_with_logits(odds, placed(labels, odds))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """How likely each text is to be acceptable. Shapes: N texts -> (N,).

        Raises: SentenceError for a text without words.
        """
        readings = [self.reader.read(text) for text in texts]
        # Attention is quadratic in the positions.
        longest = max(len(reading.ids) for reading in readings)
        size = max(1, min(BATCH, MOST_PAIRS // longest**2))
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
) -> tuple[Trained, Job]:
    """Open the sentences and make an untrained judge and the job of training it.

    A run's own `preparation` has the words that it began with.

    Raises: DataError; PreparationError; NetworkError.
    """
    corpus = open_corpus(settings)
    reader = reader_of(preparation) if preparation else _reader(settings, corpus)
    generator = mg.Generator(settings.seed)
    model = make_model(settings, reader, generator).to(device)
    trained = Trained(settings, corpus, reader, model)
    if settings.model != "grams":
        _check_minibatch(settings, trained.readings)
    decay = settings.weight_decay
    return trained, Job(
        model=model,
        optimizer=nn.AdamW(model.parameters(), lr=settings.lr, weight_decay=decay),
        generator=generator,
        epochs=settings.epochs,
        batches=trained.batches,
        inputs=trained.inputs,
        loss=trained.loss,
        max_norm=MAX_NORM,
        warmup=settings.warmup,
        unit="sentences",
        data=corpus.fingerprint,
        preparation=_preparation(trained),
    )


def open_corpus(settings: Settings) -> Corpus:
    """Open the sentences that the settings name. Raises: DataError."""
    if settings.data == GRAMMAR:
        corpus = grammar.corpus()
    else:
        corpus = load_corpus(Path(settings.data), settings.division)
    if settings.max_train is None:
        return corpus
    rows = some(len(corpus.train), settings.max_train, settings.seed)
    return replace(corpus, train=tuple(corpus.train[row] for row in rows))


def _reader(settings: Settings, corpus: Corpus) -> Reader | GramReader:
    if settings.model == "grams":
        return GramReader.of(corpus.train)
    if settings.model == "course":
        return Reader.of_the_course(corpus)
    return Reader.of(corpus.train, settings.min_count, settings.max_length)


def reader_of(preparation: Mapping[str, Any]) -> Reader | GramReader:
    """The reader that a run started with. Raises: PreparationError if it has none."""
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


def _preparation(trained: Trained) -> dict[str, Any]:
    """What a run keeps of its data, as JSON."""
    reader = trained.reader
    kept: dict[str, Any] = {
        "data": trained.corpus.fingerprint,
        "kind": trained.settings.model,
        "tokens": sorted(reader.ids, key=reader.ids.__getitem__),
    }
    if isinstance(reader, GramReader):
        return {**kept, "common": sorted(reader.common)}
    return {**kept, "max_length": reader.max_length}


def make_model(
    settings: Settings, reader: Reader | GramReader, generator: mg.Generator
) -> Judge:
    """Make the judge that goes with a reader. Raises: NetworkError."""
    words = len(reader.ids)
    if isinstance(reader, GramReader):
        return GramJudge(words, reader.pad)
    course = settings.model == "course"
    sizes = (*_widths(settings), settings.layers, course)
    options = "--hidden-dim, --embed-dim, --layers or --num-heads"
    limits.check_weights(count_weights(words, reader.max_length, *sizes), options)
    common: dict[str, Any] = {
        "pad": reader.pad,
        "max_length": reader.max_length,
        "embed_dim": settings.embed_dim,
        "num_heads": settings.num_heads,
        "hidden_dim": settings.hidden_dim,
        "generator": generator,
    }
    if course:
        return ClassificationTransformer(words, head_dim=COURSE_HEAD, **common)
    return SentenceTransformer(
        words,
        unknown=reader.unknown,
        layers=settings.layers,
        dropout=settings.dropout,
        word_dropout=settings.word_dropout,
        **common,
    )


def _check_minibatch(settings: Settings, readings: Sequence[Reading]) -> None:
    """Raises: NetworkError for sentences that are too much at once."""
    longest = max(len(reading.ids) for reading in readings)
    layers = 1 if settings.model == "course" else settings.layers
    one = count_kept(longest, *_widths(settings), settings.num_heads, layers)
    batch = min(max(settings.batch, settings.neighbours), len(readings))
    options = "--batch, --max-length, --hidden-dim or --layers"
    limits.check_minibatch(batch * one, options)


def _widths(settings: Settings) -> tuple[int, int, int]:
    """Of the model, of all heads together, and of the feed-forward network."""
    width, heads = settings.embed_dim, settings.num_heads
    inner = COURSE_HEAD * heads if settings.model == "course" else width
    return width, inner, settings.hidden_dim
