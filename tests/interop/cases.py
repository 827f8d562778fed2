"""What is compared with PyTorch? The cases, and the run that both sides make of them.

A side is a module, `minigrad_side` or `torch_side`, with the same tables: LAYERS,
LOSSES, OPTIMIZERS, SCHEDULES and FUNCTIONS, each by the names that the cases use, and
a few functions. What a run gives is a dictionary of float64 arrays in PyTorch's names
and layouts. Nothing is random: weights and data are sine waves.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STEPS = 5
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "torch"

Record = dict[str, np.ndarray]


def waves(shape: tuple[int, ...], name: str) -> np.ndarray:
    """Numbers from -1 to 1 without repeats, other ones for every name."""
    phase = zlib.crc32(name.encode()) % 1000
    count = int(np.prod(shape, dtype=int))
    return np.sin(1.7 * np.arange(count) + phase).reshape(shape)


def ids(shape: tuple[int, ...], below: int, name: str) -> np.ndarray:
    """Integers from 0 on, some of them repeated."""
    return ((waves(shape, name) + 1) / 2 * (below - 1) + 0.5).astype(np.int64)


def inputs_of(shapes: tuple[Any, ...], name: str) -> list[np.ndarray]:
    """An array for each shape; ("ids", shape, below) asks for integers."""
    return [
        ids(shape[1], shape[2], f"{name} {k}")
        if shape[:1] == ("ids",)
        else waves(shape, f"{name} {k}")
        for k, shape in enumerate(shapes)
    ]


# -- training ----------------------------------------------------------------------


class Training(NamedTuple):
    """A layer, its inputs' shapes, and how it is trained for a few steps."""

    layer: str
    inputs: tuple[Any, ...]
    loss: str = "weighted squares"
    optimizer: str = "SGD momentum"
    schedule: str | None = None
    clip: float | None = None


def train(side: Any, name: str, case: Training) -> Record:
    """Train on one side; give what every step computed, stacked over the steps."""
    module = side.LAYERS[case.layer].make()
    state = side.state(module)
    side.load(module, {n: waves(a.shape, _shared(n)) for n, a in state.items()})
    optimizer = side.OPTIMIZERS[case.optimizer](list(module.parameters()))
    schedule = side.SCHEDULES[case.schedule](optimizer) if case.schedule else None
    steps = []
    for step in range(STEPS):
        steps.append(_step(side, f"{name} {step}", case, module, optimizer))
        if schedule is not None:
            schedule.step()
    return {key: np.array([step[key] for step in steps], float) for key in steps[0]}


def _shared(name: str) -> str:
    """The weight's name; of two names of one weight, as in the course, the first."""
    return name.replace("layer.norm2.", "layer.norm1.")


def _step(side: Any, name: str, case: Training, module: Any, optimizer: Any) -> Record:
    inputs = [side.tensor(array) for array in inputs_of(case.inputs, name)]
    outputs = side.LAYERS[case.layer].call(module, *inputs)
    loss = side.LOSSES[case.loss](*outputs)
    optimizer.zero_grad()
    (loss * side.tensor(waves(tuple(loss.shape), "cotangent"))).sum().backward()
    record = {"loss": side.array(loss), "learning rate": np.array(side.rate(optimizer))}
    if case.clip is not None:
        record["norm"] = np.array(side.clip(list(module.parameters()), case.clip))
    for k, output in enumerate(outputs):
        record[f"output {k}"] = side.array(output)
    for k, tensor in enumerate(inputs):
        if tensor.requires_grad:
            record[f"gradient of input {k}"] = side.array(tensor.grad)
    for key, gradient in side.gradients(module).items():
        record[f"gradient of {key}"] = gradient
    optimizer.step()
    for key, parameter in side.state(module).items():
        record[f"{key} afterwards"] = parameter
    return record


N, T, D, H, V = 2, 3, 3, 2, 5
S, E, HEADS = 2, 4, 2
PADDING = np.array([[True, True, False], [True, True, True]])  # (N, T): True at words

IDS = ("ids", (N, T), V)

LAYERS = {
    "Linear": Training("Linear", ((N, D),)),
    "Linear without bias": Training("Linear without bias", ((N, D),)),
    "Linear on sequences": Training("Linear", ((N, T, D),)),
    "Embedding": Training("Embedding", (("ids", (N, T), V),)),
    "RNNCell": Training("RNNCell", ((N, D), (N, H))),
    "RNN": Training("RNN", ((N, T, D),)),
    "RNN from a state": Training("RNN", ((N, T, D), (N, H))),
    "LSTMCell": Training("LSTMCell", ((N, D), (N, H), (N, H))),
    "LSTM": Training("LSTM", ((N, T, D),)),
    "LSTM from a state": Training("LSTM", ((N, T, D), (N, H), (N, H))),
    "GRUCell": Training("GRUCell", ((N, D), (N, H))),
    "GRU": Training("GRU", ((N, T, D),)),
    "GRU from a state": Training("GRU", ((N, T, D), (N, H))),
    "Dropout at rest": Training("Dropout at rest", ((N, D),)),
    "Dropout of nothing": Training("Dropout of nothing", ((N, D),)),
    "Sequential": Training("Sequential", ((N, D),)),
    "Conv2d": Training("Conv2d", ((N, D, 4, 5),)),
    "pooling": Training("pooling", ((N, D, 4, 5),)),
    "LayerNorm": Training("LayerNorm", ((N, T, E),)),
    "attention to itself": Training("attention to itself", ((N, T, E),), clip=0.3),
    "attention to others": Training(
        "attention to others", ((N, T, E), (N, S, E)), clip=0.3
    ),
    "attention without padding": Training(
        "attention without padding", ((N, T, E),), clip=0.3
    ),
    "attention to the past": Training("attention to the past", ((N, T, E),), clip=0.3),
    "encoder without padding": Training(
        "encoder without padding", ((N, T, E),), clip=0.3
    ),
    "encoder of the past": Training("encoder of the past", ((N, T, E),), clip=0.3),
    "decoder": Training("decoder", ((N, T, E), (N, S, E)), clip=0.3),
    "decoder without padding": Training(
        "decoder without padding", ((N, T, E), (N, S, E)), clip=0.3
    ),
    "the course's Transformer": Training("the course's Transformer", (IDS,), clip=0.3),
    "a model of several layers": Training("Tagger", (("ids", (N, T), V),)),
}

LOSSES = {
    loss: Training("Linear", ((4, D),), loss)
    for loss in (
        *(f"cross_entropy {reduction}" for reduction in ("mean", "sum", "none")),
        *(f"mse_loss {reduction}" for reduction in ("mean", "sum", "none")),
        *(f"bce_with_logits {reduction}" for reduction in ("mean", "sum", "none")),
    )
} | {
    "temporal_softmax_loss": Training("Linear", ((N, T, D),), "temporal_softmax_loss"),
}

OPTIMIZERS = {
    optimizer: Training("Sequential", ((N, D),), optimizer=optimizer)
    for optimizer in (
        "SGD",
        "SGD momentum",
        "SGD weight decay",
        "SGD momentum and weight decay",
        "Adam",
        "Adam weight decay",
        "Adam other settings",
        "AdamW",
        "AdamW other settings",
    )
} | {
    "ExponentialDecay": Training(
        "Sequential", ((N, D),), optimizer="SGD", schedule="ExponentialDecay"
    ),
    "CosineWithWarmup": Training(
        "Sequential", ((N, D),), optimizer="Adam", schedule="CosineWithWarmup"
    ),
    "clip_grad_norm that clips": Training("Sequential", ((N, D),), clip=0.3),
    "clip_grad_norm that does not": Training("Sequential", ((N, D),), clip=1e3),
}


# -- functions ---------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "abs": ((2, 3),),
    "add": ((2, 3), (3,)),
    "avg_pool2d": ((1, 2, 5, 4),),
    "astype float32": ((2, 3),),
    "broadcast_to": ((2, 1),),
    "clip": ((2, 3),),
    "clip from below": ((2, 3),),
    "concatenate": ((2, 1), (2, 3)),
    "conv2d": ((2, 2, 5, 4), (3, 2, 2, 3)),
    "conv_transpose2d": ((2, 3, 2, 2), (3, 2, 2, 3)),
    "cos": ((2, 3),),
    "cumsum": ((2, 4),),
    "divide": ((2, 3), (3,)),
    "einsum batched product": ((2, 2, 3), (2, 3, 2)),
    "einsum of three": ((2, 3), (3, 2), (2, 2)),
    "einsum trace": ((3, 3),),
    "exp": ((2, 3),),
    "expand_dims": ((2, 3),),
    "expm1": ((2, 3),),
    "flip": ((2, 3),),
    "gelu": ((2, 3),),
    "getitem": ((3, 4),),
    "getitem by ids": ((3, 4), ("ids", (4,), 3)),
    "log": ((2, 3),),
    "log1p": ((2, 3),),
    "log_softmax": ((2, 4),),
    "log_softmax axis 0": ((3, 2),),
    "logsumexp": ((2, 4),),
    "logsumexp all": ((2, 3),),
    "max_pool2d": ((1, 2, 5, 4),),
    "matmul": ((2, 3), (3, 2)),
    "matmul batched": ((2, 2, 3), (3, 2)),
    "matmul vector": ((3,), (3,)),
    "max": ((2, 4),),
    "maximum": ((2, 3), (3,)),
    "mean": ((2, 4),),
    "mean all": ((2, 3),),
    "min": ((2, 4),),
    "minimum": ((2, 3), (3,)),
    "multiply": ((2, 3), (2, 1)),
    "negative": ((3,),),
    "norm": ((2, 4),),
    "norm all": ((2, 3),),
    "pad": ((2, 2),),
    "power": ((2, 3),),
    "prod": ((2, 4),),
    "prod with a zero": ((2, 3),),
    "relu": ((2, 3),),
    "reshape": ((2, 3),),
    "scaled_dot_product_attention": (
        (N, HEADS, T, 2),
        (N, HEADS, S, 2),
        (N, HEADS, S, 3),
    ),
    "scaled_dot_product_attention to the past": ((T, 2), (T, 2), (T, 3)),
    "scatter_add": ((4, 2), ("ids", (4,), 3)),
    "sigmoid": ((2, 3),),
    "sin": ((2, 3),),
    "softmax": ((2, 4),),
    "softmax axis 0": ((3, 2),),
    "softplus": ((2, 3),),
    "split": ((2, 5),),
    "sqrt": ((2, 3),),
    "squeeze": ((2, 1, 3),),
    "stack": ((2, 2), (2, 2)),
    "std": ((2, 4),),
    "std unbiased": ((2, 4),),
    "subtract": ((2, 3), (3,)),
    "sum": ((2, 4),),
    "sum all": ((2, 3),),
    "swapaxes": ((2, 3, 2),),
    "take": ((3, 2), ("ids", (2, 2), 3)),
    "tanh": ((2, 3),),
    "transpose": ((2, 3, 2),),
    "unstack": ((2, 3),),
    "var": ((2, 4),),
    "var unbiased": ((2, 4),),
    "where": ((2, 3), (2, 3)),
}


def apply(side: Any, name: str, shapes: tuple[Any, ...]) -> Record:
    """Call a function on one side; give its value and its gradients."""
    inputs = [side.tensor(array) for array in inputs_of(shapes, name)]
    output = side.FUNCTIONS[name](*inputs)
    (output * side.tensor(waves(tuple(output.shape), "cotangent"))).sum().backward()
    record = {"output": side.array(output)}
    for k, tensor in enumerate(inputs):
        if tensor.requires_grad:
            record[f"gradient of input {k}"] = side.array(tensor.grad)
    return {key: np.array(array, float) for key, array in record.items()}


# -- all of them -------------------------------------------------------------------

GROUPS = {
    "layers": (train, LAYERS),
    "losses": (train, LOSSES),
    "optimizers": (train, OPTIMIZERS),
    "functions": (apply, FUNCTIONS),
}
ALL = [(group, name) for group, (_, cases) in GROUPS.items() for name in cases]


def run(side: Any, group: str, name: str) -> Record:
    """Compute one case on one side."""
    computation, cases = GROUPS[group]
    return computation(side, name, cases[name])


def compare(ours: Record, theirs: Record) -> None:
    """Hold two sides' records against each other, to 1e-10."""
    assert sorted(ours) == sorted(theirs)
    for key, expected in theirs.items():
        np.testing.assert_allclose(
            ours[key], expected, rtol=1e-10, atol=1e-10, err_msg=key, strict=True
        )


# -- fixtures ----------------------------------------------------------------------


def write_fixture(group: str, records: dict[str, Record]) -> None:
    """Store a group: all numbers of a case in one array, and one table of contents."""
    contents = {
        name: {key: list(array.shape) for key, array in record.items()}
        for name, record in records.items()
    }
    arrays = {
        name: np.concatenate([array.reshape(-1) for array in record.values()])
        for name, record in records.items()
    }
    path = FIXTURES / f"{group}.npz"
    np.savez_compressed(path, contents=json.dumps(contents), **arrays)


def read_fixture(group: str) -> dict[str, Record]:
    """Give a group's records as they were stored."""
    with np.load(FIXTURES / f"{group}.npz", allow_pickle=False) as file:
        contents = json.loads(str(file["contents"]))
        return {name: _cut(file[name], shapes) for name, shapes in contents.items()}


def _cut(numbers: np.ndarray, shapes: dict[str, list[int]]) -> Record:
    record, begin = {}, 0
    for key, shape in shapes.items():
        end = begin + int(np.prod(shape, dtype=int))
        record[key] = numbers[begin:end].reshape(shape)
        begin = end
    return record
