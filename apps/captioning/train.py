"""Training of the captioner: its data, its model, and the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps import limits
from apps.captioning.data import UNITS, CaptionData, Standard, load_data
from apps.captioning.layout import NULL
from apps.captioning.model import Captioner, Ensemble, count_kept, count_weights
from apps.captioning.settings import Settings
from apps.captioning.tokens import spell
from apps.job import Job, minibatches, some
from apps.run_folder import PreparationError

# The gradient norm is clipped to this. Source: Pascanu, Mikolov, Bengio, On the
# difficulty of training recurrent neural networks (2013), algorithm 1.
MAX_NORM = 5.0


@dataclass(frozen=True)
class Trained:
    """A captioner with its settings and its training data."""

    settings: Settings
    data: CaptionData
    model: Captioner
    standard: Standard

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The minibatches of an epoch, each the rows of its captions."""
        settings, count = self.settings, len(self.data.train.captions)
        return minibatches(count, settings.batch, settings.seed, epoch)

    def inputs(self, batch: np.ndarray) -> tuple[tuple[np.ndarray, ...], int]:
        """The features and captions of a minibatch, and its number of words."""
        train, null = self.data.train, self.data.vocabulary[NULL]
        captions = train.captions[batch]
        # Without the last columns if there is padding in all rows of them.
        used = np.flatnonzero((captions != null).any(axis=0))
        captions = captions[:, : used[-1] + 1]
        features = self.standard(train.read_features(train.image_indices[batch]))
        said = int(np.count_nonzero(captions[:, 1:] != null))
        return (features, captions), said


def build(
    settings: Settings,
    device: str = "cpu",
    preparation: Mapping[str, Any] | None = None,
) -> tuple[Trained, Job]:
    """Open the data and make an untrained captioner and the job of training it.

    The device is no setting: a run that began on one can go on on another. A run's
    own `preparation` has the features' mean and scale that it began with.

    Raises: DataError; PreparationError; NetworkError; DecodingError.
    """
    opened = open_data(settings)
    standard = _standard(preparation) if preparation else Standard.of(opened.train)
    _check_size(settings, opened)
    if not preparation:
        settings.decoding.check_vocabulary(len(opened.vocabulary))
    generator = mg.Generator(settings.seed)
    model = _model(settings, opened, generator).to(device)
    trained = Trained(settings, opened, model, standard)
    return trained, Job(
        model=model,
        optimizer=nn.Adam(model.parameters(), lr=settings.lr),
        generator=generator,
        epochs=settings.epochs,
        batches=trained.batches,
        inputs=trained.inputs,
        loss=model.loss,
        # The loss is the members' mean, and so is each one's gradient.
        max_norm=MAX_NORM / settings.members**0.5,
        unit=UNITS[settings.tokens],
        data=opened.fingerprint,
        preparation=_preparation(trained),
    )


def _standard(preparation: Mapping[str, Any]) -> Standard:
    try:
        mean = np.array(preparation["mean"], dtype=np.float32)
        scale = float(preparation["scale"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PreparationError(f"'mean' or 'scale' is damaged ({error!r})") from error
    if mean.ndim != 1 or not np.isfinite([*mean, scale]).all() or scale <= 0:
        raise PreparationError("'mean' or 'scale' is out of range")
    return Standard(mean, scale)


def _preparation(trained: Trained) -> dict[str, Any]:
    """What a run keeps of its data, as JSON."""
    vocabulary, standard = trained.data.vocabulary, trained.standard
    return {
        "data": trained.data.fingerprint,
        "vocabulary": sorted(vocabulary, key=vocabulary.__getitem__),
        "mean": standard.mean.tolist(),
        "scale": standard.scale,
    }


def _check_size(settings: Settings, data: CaptionData) -> None:
    """Raises: NetworkError for what would not fit, before it is made."""
    sizes = (settings.cell, settings.wordvec_dim, settings.hidden_dim)
    words, members = len(data.vocabulary), settings.members
    one = count_weights(words, data.train.input_dim, *sizes)
    limits.check_weights(members * one, "--hidden-dim, --wordvec-dim or --members")
    batch = min(settings.batch, len(data.train.captions))
    steps = batch * data.train.captions.shape[1]
    kept = members * steps * count_kept(words, *sizes)
    limits.check_minibatch(kept, "--batch, --hidden-dim or --members")


def open_data(settings: Settings) -> CaptionData:
    """Open the data: all or some captions, words or letters. Raises: DataError."""
    opened = load_data(settings.data, settings.features)
    if settings.max_train is not None:
        train = opened.train
        rows = some(len(train.captions), settings.max_train, settings.seed)
        train = train.with_captions(train.captions[rows], train.image_indices[rows])
        opened = replace(opened, train=train)
    return spell(opened) if settings.tokens == "char" else opened


def _model(settings: Settings, data: CaptionData, generator: mg.Generator) -> Captioner:
    sizes = data.train.input_dim, settings.wordvec_dim, settings.hidden_dim
    more: Any = {"dropout": settings.dropout, "generator": generator}
    members = [
        Captioner(data.vocabulary, *sizes, settings.cell, **more)
        for _ in range(settings.members)
    ]
    return members[0] if settings.members == 1 else Ensemble(members)
