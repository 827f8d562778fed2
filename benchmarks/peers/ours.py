"""How does minigrad do each work? As a user writes it, and compiled by mg.compile."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps.cola.model import ClassificationTransformer
from apps.image_gradients.gradients import frozen, score_of
from apps.image_gradients.squeezenet import SqueezeNet
from benchmarks.peers import DEVICE, Step
from benchmarks.works import LEARNING_RATE, NULL, PROJECTIONS, Arrays, Problem

VERSION = "this tree"


def kernels() -> str:
    """Leave the answer to NumPy, or name the GPU."""
    return "" if DEVICE == "cpu" else mg.device(DEVICE).reason


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE != "cpu":
        import cupy

        cupy.cuda.get_current_stream().synchronize()


def put(array: np.ndarray) -> Any:
    """Return an array on the device."""
    return mg.asarray(array).to(DEVICE).data


def leaf(array: np.ndarray) -> mg.Tensor:
    """Return a Tensor on the device, to be differentiated by."""
    return mg.Tensor(array, requires_grad=True, device=DEVICE)


def chain(problem: Problem) -> Step:
    """Multiply x by w `length` times, then call backward once."""
    x, w = map(leaf, problem.parameters.values())
    repeats = range(problem.length)

    def step() -> tuple[mg.Tensor | None, ...]:
        x.grad = w.grad = None
        y = x
        for _ in repeats:
            y = y * w
        y.backward()
        return y, x.grad, w.grad

    return step


class MLP(nn.Module):
    """Three affine layers with ReLU between."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = nn.Linear(hidden, classes)

    def forward(self, x: np.ndarray) -> mg.Tensor:
        h = mg.relu(self.first(x))
        h = mg.relu(self.second(h))
        return self.third(h)


class Captioner(nn.Module):
    """Affine of the features -> h0; embedding -> recurrent layer -> word scores."""

    def __init__(self, sizes: Arrays, layer: type[nn.LSTM] | type[nn.RNN]) -> None:
        super().__init__()
        (vocabulary, wordvec), hidden = sizes["W_embed"].shape, len(sizes["Wh"])
        self.project = nn.Linear(len(sizes["W_proj"]), hidden)
        self.embed = nn.Embedding(vocabulary, wordvec)
        self.recurrent = layer(wordvec, hidden)
        self.scores = nn.Linear(hidden, vocabulary)

    def forward(self, features: np.ndarray, captions: np.ndarray) -> mg.Tensor:
        words, targets = captions[:, :-1], captions[:, 1:]
        h0 = self.recurrent.initial_state(len(features), self.project(features))
        h, _ = self.recurrent(self.embed(words), h0)
        return nn.temporal_softmax_loss(self.scores(h), targets, targets != NULL)


def mlp(problem: Problem, compiled: bool = False) -> Step:
    """Train the MLP on one batch."""
    p = problem.parameters
    model = MLP(*p["W0"].shape, p["W2"].shape[1])
    model.load_state_dict(
        {
            f"{name}.{kind}": p[f"{kind}{i}"]
            for i, name in enumerate(("first", "second", "third"))
            for kind in "Wb"
        }
    )
    batch = problem.inputs["x"], problem.inputs["labels"]
    loss = lambda x, labels: nn.cross_entropy(model(x), labels)  # noqa: E731
    return training(model, loss, batch, compiled)


def captioning(
    layer: type[nn.LSTM] | type[nn.RNN],
) -> Callable[..., Step]:
    """Return the training of a captioner around `layer`."""

    def make(problem: Problem, compiled: bool = False) -> Step:
        p = problem.parameters
        model = Captioner(p, layer)
        model.load_state_dict(
            {
                "project.W": p["W_proj"],
                "project.b": p["b_proj"],
                "embed.W": p["W_embed"],
                **{f"recurrent.{name}": p[name] for name in ("Wx", "Wh", "b")},
                "scores.W": p["W_vocab"],
                "scores.b": p["b_vocab"],
            }
        )
        batch = problem.inputs["features"], problem.inputs["captions"]
        return training(model, model, batch, compiled)

    return make


def lstm_layer(problem: Problem) -> Step:
    """Run nn.LSTM alone, forward and backward, from h0 = 0."""
    p = problem.parameters
    layer = nn.LSTM(p["Wx"].shape[0], p["Wh"].shape[0])
    layer.load_state_dict(p)
    layer.to(DEVICE)
    x = leaf(problem.inputs["x"])

    def step() -> mg.Tensor:
        layer.zero_grad()
        x.grad = None
        h, _ = layer(x)
        loss = (h * h).mean()
        loss.backward()
        return loss

    return step


class AllPositions(ClassificationTransformer):
    """The course's Transformer, computing what is not read, too."""

    def judge(self, x: mg.Tensor, ids: np.ndarray) -> mg.Tensor:
        return self.decide(self.feed_forward(self.attend(x)), ids)


def judge(
    problem: Problem,
    kind: type[ClassificationTransformer] = ClassificationTransformer,
    compiled: bool = False,
) -> Step:
    """Train the course's Transformer for CoLA."""
    p = problem.parameters
    width, inner = p["query W"].shape
    heads = 2
    model = kind(
        len(p["words"]),
        max_length=len(p["positions"]),
        embed_dim=width,
        num_heads=heads,
        head_dim=inner // heads,
        hidden_dim=p["first W"].shape[1],
    )
    packed = {
        f"layer.attention.{k}qkv": np.concatenate(
            [p[f"{name} {k}"] for name in PROJECTIONS], axis=-1
        )
        for k in "Wb"
    }
    names = {"back": "layer.attention.out", "out": "out"}
    names |= {name: f"layer.feed_forward.{name}" for name in ("first", "second")}
    model.load_state_dict(
        {
            "words.W": p["words"],
            "positions.W": p["positions"],
            "layer.attention_norm.W": p["scale"],
            "layer.attention_norm.b": p["shift"],
            **packed,
            **{f"{ours}.{k}": p[f"{n} {k}"] for n, ours in names.items() for k in "Wb"},
        }
    )
    batch = problem.inputs["ids"], problem.inputs["labels"]
    loss = lambda ids, labels: nn.bce_with_logits(model(ids), labels)  # noqa: E731
    return training(model, loss, batch, compiled)


def attention(problem: Problem, chunk: int | None = None) -> Step:
    """Attend to the past, forward and backward."""
    inputs = list(map(leaf, problem.inputs.values()))

    def step() -> mg.Tensor:
        for tensor in inputs:
            tensor.grad = None
        y = nn.functional.scaled_dot_product_attention(
            *inputs, causal=True, chunk=chunk
        )
        loss = (y * y).mean()
        loss.backward()
        return loss

    return step


def squeezenet(problem: Problem, gradient: bool = False, keep: bool = True) -> Step:
    """Score pictures, or find which way a class's score grows.

    Memory is kept from step to step, as `minigrad look` does, or given back.
    """
    if keep:
        mg.keep_memory()
    network = SqueezeNet()
    nn.load_torch_state_dict(network, problem.parameters)
    frozen(network.to(DEVICE))
    images = put(problem.inputs["images"].transpose(0, 3, 1, 2))
    chosen = score_of(problem.inputs["classes"])

    def forward() -> tuple[mg.Tensor, ...]:
        with mg.no_grad():
            scores = network(mg.asarray(images))
            return scores.sum(), mg.abs(scores).max()

    def with_slope() -> tuple[mg.Tensor, ...]:
        x = mg.Tensor(images, requires_grad=True)
        scores = network(x)
        chosen(scores).sum().backward()
        with mg.no_grad():
            slope = mg.abs(x.grad)
            return scores.detach().sum(), slope.sum(), slope.max()

    return with_slope if gradient else forward


def training(
    model: nn.Module,
    loss_of: Callable[..., mg.Tensor],
    batch: tuple[np.ndarray, ...],
    compiled: bool,
) -> Step:
    """Return a step of Adam on the model's parameters."""
    model.to(DEVICE)
    optimizer = nn.Adam(model.parameters(), lr=LEARNING_RATE)
    given = tuple(map(put, batch))

    def step(*batch: Any) -> mg.Tensor:
        optimizer.zero_grad()
        loss = loss_of(*batch)
        loss.backward()
        optimizer.step()
        return loss

    return partial(mg.compile(step) if compiled else step, *given)


def both(
    make: Callable[..., Step], label: str = "minigrad"
) -> dict[str, Callable[..., Step]]:
    """Return a work as it is, and compiled."""
    return {label: make, f"{label}, compiled": partial(make, compiled=True)}


WORKS = {
    "operation": {"minigrad": chain},
    "chain": {"minigrad": chain},
    "mlp": both(mlp),
    "lstm": both(captioning(nn.LSTM)),
    "rnn": both(captioning(nn.RNN)),
    "layer": {"minigrad": lstm_layer},
    "judge": {
        **both(judge),
        **both(partial(judge, kind=AllPositions), "minigrad, all positions"),
    },
    "attention": {
        "minigrad": partial(attention, chunk=256),
        "minigrad, all at once": attention,
    },
    "squeezenet": {"minigrad": squeezenet},
    "squeezenet-gradient": {
        "minigrad": partial(squeezenet, gradient=True),
        "minigrad, memory given back": partial(squeezenet, gradient=True, keep=False),
    },
}
