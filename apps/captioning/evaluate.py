"""Scores of a captioner, beside those of baselines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apps.captioning import grammar, shapes
from apps.captioning.data import CaptionData, Split
from apps.captioning.grammar import Scene
from apps.captioning.metrics import Captions, corpus_bleu, mean_bleu, most_agreed
from apps.captioning.sample import Words, describe
from apps.captioning.train import Trained


@dataclass(frozen=True)
class Accuracy:
    """The fractions of scenes whose captions are right, as `grammar.Verdict` says."""

    correct: float
    things: float
    relation: float

    @classmethod
    def of(cls, captions: Captions, scenes: Sequence[Scene]) -> Accuracy:
        """Hold each caption, a list of words, against its scene.

        Raises: ValueError if there is none, or not one caption for each scene.
        """
        if not scenes:
            raise ValueError("Accuracy.of no scenes: a fraction needs at least one.")
        pairs = zip(captions, scenes, strict=True)
        verdicts = [grammar.judge(" ".join(words), scene) for words, scene in pairs]
        found = [(v.correct, v.things, v.relation) for v in verdicts]
        return cls(*np.mean(found, axis=0).tolist())


def compare(
    data: CaptionData, training: Captions, split: Split, said: Mapping[int, list[str]]
) -> dict[str, Accuracy]:
    """Judge what a captioner said of drawn scenes, and what both baselines say.

    `training` are its captions in words; `said` has each picture's, by its row.
    Raises: DataError if the data are not drawn shapes.
    """
    every = shapes.load_scenes(data.folder, split.name, len(split.features))
    pictures = np.array(list(said))
    scenes = [every[picture] for picture in pictures]
    captions: dict[str, Captions] = {
        "captioner": list(said.values()),
        "nearest": nearest_captions(data.train, training, split, pictures),
        "commonest": [commonest_caption(training)] * len(scenes),
    }
    return {who: Accuracy.of(own, scenes) for who, own in captions.items()}


def commonest_caption(training: Captions) -> list[str]:
    """The caption that occurs most often; the first of equals."""
    return list(Counter(map(tuple, training)).most_common(1)[0][0])


def safest_caption(
    training: Captions, candidates: int = 500, references: int = 1000
) -> list[str]:
    """The caption most like all: what can be said without looking.

    Of training captions, the one with the highest mean unigram BLEU against others;
    both are chosen at random, always the same ones.
    """
    rows = np.random.default_rng(0).permutation(len(training))
    chosen = [training[row] for row in rows[: max(candidates, references)]]
    best = most_agreed(chosen[:candidates], chosen[:references])
    return list(chosen[best])


def nearest_captions(
    train: Split, training: Captions, split: Split, pictures: np.ndarray
) -> Captions:
    """For each picture, the first caption of the training picture nearest to it."""
    described, rows = np.unique(train.image_indices, return_index=True)
    nearest = _nearest(train, described, split.read_features(pictures))
    return [training[row] for row in rows[nearest]]


def _nearest(
    train: Split, pictures: np.ndarray, features: np.ndarray, chunk: int = 4096
) -> np.ndarray:
    """The index in `pictures` of each row's nearest, the first of equals.

    Shapes: pictures (P,), features (N, D) -> (N,).
    """
    best = np.full(len(features), np.inf)
    nearest = np.zeros(len(features), dtype=int)
    for begin in range(0, len(pictures), chunk):
        known = train.read_features(pictures[begin : begin + chunk])
        # |a - b|^2 without |a|^2, which is the same for all that a is compared with.
        distances = (known**2).sum(axis=1) - 2 * features @ known.T
        closest = distances.argmin(axis=1)
        smallest = distances[np.arange(len(features)), closest]
        better = smallest < best
        nearest[better] = begin + closest[better]
        best[better] = smallest[better]
    return nearest


@dataclass(frozen=True)
class Likeness:
    """How like captions are to the true ones; each number from 0 to 1.

    `bleu` is unigram BLEU, against one true caption at a time; `corpus` BLEU-1 to
    BLEU-4, against all of a picture; `exact` the fraction of captions that are one of
    the true ones; `invented` that of words that no training caption has.
    """

    bleu: float
    exact: float
    invented: float
    corpus: tuple[float, ...]


@dataclass(frozen=True)
class Scores:
    """The scores on `pictures` pictures.

    `constant` are those of one caption for all: `safest`, the one most like all others.
    `accuracy`, for drawn scenes only, is by who speaks.
    """

    pictures: int
    captioner: Likeness
    constant: Likeness
    safest: str
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)


def evaluate(trained: Trained, split: Split) -> Scores:
    """Caption every picture of a split that has true captions, and score that."""
    pictures = np.unique(split.image_indices)
    captions = describe(trained, split, pictures)
    said = dict(zip(pictures.tolist(), captions, strict=True))
    return score(trained.data, split, said)


def score(data: CaptionData, split: Split, said: Mapping[int, Words]) -> Scores:
    """Compare each picture's caption with its true ones."""
    training = data.words(data.train.captions)
    known = {word for words in training for word in words}
    true = defaultdict(list)
    references = data.words(split.captions)
    for picture, words in zip(split.image_indices.tolist(), references, strict=True):
        true[picture].append(words)
    safest = safest_caption(training)
    drawn = shapes.are_drawn(data.folder, split.name)
    return Scores(
        pictures=len(true),
        captioner=_likeness(true, said, known),
        constant=_likeness(true, dict.fromkeys(true, safest), known),
        safest=" ".join(safest),
        accuracy=compare(data, training, split, said) if drawn else {},
    )


def _likeness(
    true: Mapping[int, list[Words]], said: Mapping[int, Words], known: set[str]
) -> Likeness:
    """Compare captions with the true ones, both by their picture."""
    pairs = [(said[p], reference) for p, of_one in true.items() for reference in of_one]
    candidates, references = zip(*pairs, strict=True)
    spoken = [word for words in said.values() for word in words]
    return Likeness(
        bleu=mean_bleu(references, candidates),
        exact=sum(said[p] in of_one for p, of_one in true.items()) / len(true),
        invented=sum(word not in known for word in spoken) / max(1, len(spoken)),
        corpus=corpus_bleu([*true.values()], [said[picture] for picture in true]),
    )
