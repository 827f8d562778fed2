"""The works that are measured: sizes, initial values and data of each.

N batch, T time steps, D input width, H hidden width, V vocabulary. Weights are
(in, out). The gates of an LSTM come in the order i, f, o, g.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np

Arrays = dict[str, np.ndarray]

LEARNING_RATE = 1e-3
NULL = 0
"""The id that pads captions: it counts in no loss."""
LAYER_STEPS = (16, 64, 256, 1024)
ATTENTION_STEPS = 4096
PROJECTIONS = ("query", "key", "value")


@dataclass(frozen=True)
class Sizes:
    """The widths of a captioner, and the words it reads in a caption."""

    features: int = 512
    wordvec: int = 256
    hidden: int = 512
    vocabulary: int = 1004
    steps: int = 16


FULL = Sizes()
TINY = Sizes(4, 4, 4, 8, 2)


@dataclass(frozen=True)
class JudgeSizes:
    """The course's Transformer for CoLA: heads of a width of their own."""

    batch: int = 32
    steps: int = 43
    vocabulary: int = 1542
    width: int = 128
    heads: int = 2
    head_width: int = 96
    hidden: int = 2048


JUDGE = JudgeSizes()
TINY_JUDGE = JudgeSizes(2, 3, 5, 4, 2, 3, 4)


# SqueezeNet 1.1: what a fire module takes in, squeezes to, and expands to twice; None
# for a pooling.
FIRES: tuple[tuple[int, int, int] | None, ...] = (
    None,
    (64, 16, 64),
    (128, 16, 64),
    None,
    (128, 32, 128),
    (256, 32, 128),
    None,
    (256, 48, 192),
    (384, 48, 192),
    (384, 64, 256),
    (512, 64, 256),
)


@dataclass(frozen=True)
class Problem:
    """Where every framework starts: the same values for all of them."""

    parameters: Arrays
    inputs: Arrays = field(default_factory=dict)
    length: int = 1


@dataclass(frozen=True)
class Work:
    """One row of the table: a problem, and how its time is counted.

    `tiny` is a small problem of the same kind: it makes a framework load everything
    it needs. `kind` is the key under which a peer offers its implementations, `calls`
    the number of steps in one sample of the clock, and `parts` what a step's time is
    divided by (operations or time steps).
    """

    name: str
    title: str
    kind: str
    problem: Callable[[], Problem]
    tiny: Callable[[], Problem]
    unit: str = "ms"
    calls: int = 1
    parts: int = 1


def chain(length: int) -> Problem:
    """Return x and w of size 1 for y = x * w * w * ... with `length` products."""
    weight = 1.0 - 0.1 / length
    return Problem(
        {"x": np.full(1, 1.5, "float32"), "w": np.full(1, weight, "float32")},
        length=length,
    )


def mlp(batch: int, widths: tuple[int, ...]) -> Problem:
    """Return a network of affine layers with a batch of labelled images."""
    rng = np.random.default_rng(1)
    parameters: Arrays = {}
    for number, (inner, outer) in enumerate(pairwise(widths)):
        parameters[f"W{number}"] = _weights(rng, inner, outer)
        parameters[f"b{number}"] = np.zeros(outer, "float32")
    images = rng.random((batch, widths[0]), "float32")
    labels = rng.integers(0, widths[-1], batch)
    return Problem(parameters, {"x": images, "labels": labels})


def captioning(batch: int, gates: int, sizes: Sizes = FULL) -> Problem:
    """Return the captioning model (`gates` 4 for an LSTM, 1 for an RNN) and N photos.

    Captions are (N, T + 1); a quarter of them end early and are padded.
    """
    rng = np.random.default_rng(2)
    parameters = {
        "W_proj": _weights(rng, sizes.features, sizes.hidden),
        "b_proj": np.zeros(sizes.hidden, "float32"),
        "W_embed": _weights(rng, sizes.vocabulary, sizes.wordvec),
        **_recurrent_weights(rng, sizes.wordvec, sizes.hidden, gates),
        "W_vocab": _weights(rng, sizes.hidden, sizes.vocabulary),
        "b_vocab": np.zeros(sizes.vocabulary, "float32"),
    }
    features = rng.standard_normal((batch, sizes.features), "float32")
    captions = rng.integers(NULL + 1, sizes.vocabulary, (batch, sizes.steps + 1))
    captions[::4, sizes.steps // 2 + 1 :] = NULL
    return Problem(parameters, {"features": features, "captions": captions})


def layer(steps: int, sizes: Sizes = FULL) -> Problem:
    """Return an LSTM layer alone and a batch of 25 sequences of `steps` vectors."""
    rng = np.random.default_rng(3)
    parameters = _recurrent_weights(rng, sizes.wordvec, sizes.hidden, gates=4)
    sequences = rng.standard_normal((25, steps, sizes.wordvec), "float32")
    return Problem(parameters, {"x": sequences})


def judge(sizes: JudgeSizes = JUDGE) -> Problem:
    """Return the course's Transformer for CoLA and a batch of labelled sentences."""
    rng = np.random.default_rng(4)
    inner = sizes.heads * sizes.head_width
    widths = dict.fromkeys(PROJECTIONS, (sizes.width, inner))
    widths |= {
        "back": (inner, sizes.width),
        "first": (sizes.width, sizes.hidden),
        "second": (sizes.hidden, sizes.width),
        "out": (sizes.width, 1),
    }
    parameters: Arrays = {
        "words": _weights(rng, sizes.vocabulary, sizes.width),
        "positions": _weights(rng, sizes.steps, sizes.width),
        "scale": np.ones(sizes.width, "float32"),
        "shift": np.zeros(sizes.width, "float32"),
    }
    for name, (rows, columns) in widths.items():
        parameters[f"{name} W"] = _weights(rng, rows, columns)
        parameters[f"{name} b"] = np.zeros(columns, "float32")
    ids = rng.integers(0, sizes.vocabulary, (sizes.batch, sizes.steps))
    labels = rng.integers(0, 2, sizes.batch).astype("float32")
    return Problem(parameters, {"ids": ids, "labels": labels})


def attention(steps: int, heads: int = 2, width: int = 64) -> Problem:
    """Return queries, keys and values (1, heads, steps, width)."""
    rng = np.random.default_rng(5)
    shape = (1, heads, steps, width)
    inputs = {name: rng.standard_normal(shape, "float32") for name in PROJECTIONS}
    return Problem({}, inputs)


def squeezenet(pictures: int = 5, side: int = 224) -> Problem:
    """Return SqueezeNet 1.1 in torchvision's names and layout, and pictures.

    Pictures are (N, side, side, 3), as files have them, smooth and not normalised;
    each has a class to ask for.
    """
    rng = np.random.default_rng(6)
    parameters: Arrays = {}

    def add(name: str, outputs: int, inputs: int, window: int) -> None:
        shape = (outputs, inputs, window, window)
        scale = np.float32(np.sqrt(2 / (inputs * window * window)))
        parameters[f"{name}.weight"] = rng.standard_normal(shape, "float32") * scale
        parameters[f"{name}.bias"] = rng.standard_normal(outputs, "float32") * 0.1

    add("features.0", 64, 3, 3)
    for place, fire in enumerate(FIRES, start=2):
        if fire is not None:
            inputs, few, many = fire
            add(f"features.{place}.squeeze", few, inputs, 1)
            add(f"features.{place}.expand1x1", many, few, 1)
            add(f"features.{place}.expand3x3", many, few, 3)
    add("classifier.1", 1000, 512, 1)
    steps = np.cumsum(rng.standard_normal((pictures, side, side, 3), "float32"), axis=1)
    images = np.cumsum(steps, axis=2)
    images /= np.abs(images).max(axis=(1, 2, 3), keepdims=True) / 2
    classes = rng.integers(0, 1000, pictures)
    return Problem(parameters, {"images": images, "classes": classes})


def _recurrent_weights(
    rng: np.random.Generator, inner: int, hidden: int, gates: int
) -> Arrays:
    return {
        "Wx": _weights(rng, inner, gates * hidden),
        "Wh": _weights(rng, hidden, gates * hidden),
        "b": np.zeros(gates * hidden, "float32"),
    }


def _weights(rng: np.random.Generator, inner: int, outer: int) -> np.ndarray:
    scale = np.float32(1 / np.sqrt(inner))
    return rng.standard_normal((inner, outer), "float32") * scale


WORKS = (
    Work(
        "operation",
        "one operation, forward + backward, size 1",
        "operation",
        partial(chain, 1),
        partial(chain, 1),
        unit="us",
        calls=1000,
    ),
    Work(
        "operation-of-100",
        "one operation of a chain of 100, forward + backward, size 1",
        "operation",
        partial(chain, 100),
        partial(chain, 1),
        unit="us",
        calls=20,
        parts=100,
    ),
    Work(
        "chain",
        "chain of 100,000 operations",
        "chain",
        partial(chain, 100_000),
        partial(chain, 1),
    ),
    Work(
        "mlp",
        "MLP 784-512-512-10, batch 128, Adam",
        "mlp",
        partial(mlp, 128, (784, 512, 512, 10)),
        partial(mlp, 2, (4, 4, 4, 4)),
    ),
    *(
        Work(
            f"{kind}-{batch}",
            f"{kind.upper()} captioning, N = {batch}",
            kind,
            partial(captioning, batch, gates),
            partial(captioning, 2, gates, TINY),
        )
        for kind, batch, gates in (("lstm", 25, 4), ("lstm", 128, 4), ("rnn", 25, 1))
    ),
    *(
        Work(
            f"layer-{steps}",
            f"LSTM layer, one time step of T = {steps}",
            "layer",
            partial(layer, steps),
            partial(layer, 2, TINY),
            parts=steps,
        )
        for steps in LAYER_STEPS
    ),
    Work(
        "judge",
        "Transformer for CoLA, N = 32, T = 43",
        "judge",
        judge,
        partial(judge, TINY_JUDGE),
    ),
    Work(
        f"attention-{ATTENTION_STEPS}",
        f"attention to the past, T = {ATTENTION_STEPS:,}",
        "attention",
        partial(attention, ATTENTION_STEPS),
        partial(attention, 3),
    ),
    *(
        Work(
            name,
            f"SqueezeNet 1.1, 5 pictures, {what}",
            name,
            squeezenet,
            partial(squeezenet, 1, 32),
        )
        for name, what in (
            ("squeezenet", "forward"),
            ("squeezenet-gradient", "forward + gradient of the pictures"),
        )
    ),
)
BY_NAME = {work.name: work for work in WORKS}
