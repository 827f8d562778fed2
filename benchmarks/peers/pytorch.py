"""How does PyTorch do each work? Eagerly, with its fused Adam.

That is its faster one on CPUs; the MLP, where it matters most, is also done by default.

Every model is given the common initial values; PyTorch's own layout is (out, in), and
the gates of its LSTM come in the order i, f, g, o.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import THREADS
from benchmarks.peers import DEVICE, Step
from benchmarks.works import FIRES, LEARNING_RATE, NULL, PROJECTIONS, Problem

torch.set_num_threads(THREADS)
# All of the digits of float32, as the others.
torch.backends.cudnn.allow_tf32 = False
VERSION = torch.__version__


def kernels() -> str:
    """Say which vector instructions and which matrix library PyTorch uses."""
    if DEVICE != "cpu":
        return torch.cuda.get_device_name(DEVICE)
    libraries = {
        "MKL": torch.backends.mkl.is_available(),
        "oneDNN": torch.backends.mkldnn.is_available(),
    }
    names = [name for name, there in libraries.items() if there]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *names])


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def put(array: np.ndarray) -> Tensor:
    """Return a tensor on the device."""
    return torch.tensor(array, device=DEVICE)


def chain(problem: Problem) -> Step:
    """Multiply x by w `length` times, then call backward once."""
    x, w = (put(a).requires_grad_() for a in problem.parameters.values())
    repeats = range(problem.length)

    def step() -> tuple[Tensor | None, ...]:
        x.grad = w.grad = None
        y = x
        for _ in repeats:
            y = y * w
        y.backward()
        return y, x.grad, w.grad

    return step


def mlp(problem: Problem, fused: bool = True) -> Step:
    """Train nn.Sequential of three nn.Linear."""
    p = problem.parameters
    linears = [linear(p[f"W{i}"], p[f"b{i}"]) for i in range(3)]
    first, second, third = linears
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
    x = put(problem.inputs["x"])
    labels = put(problem.inputs["labels"])
    return training(model, lambda: F.cross_entropy(model(x), labels), fused)


class Captioner(nn.Module):
    """Affine of the features -> h0; embedding -> recurrent layer -> word scores."""

    def __init__(self, problem: Problem, recurrent: nn.Module) -> None:
        super().__init__()
        p = problem.parameters
        self.project = linear(p["W_proj"], p["b_proj"])
        self.embed = nn.Embedding.from_pretrained(
            torch.tensor(p["W_embed"]), freeze=False
        )
        self.recurrent = recurrent
        self.scores = linear(p["W_vocab"], p["b_vocab"])

    def forward(self, features: Tensor, captions: Tensor) -> Tensor:
        words, targets = captions[:, :-1], captions[:, 1:]
        h = self.recurrent(self.embed(words), self.project(features))
        scores = self.scores(h).flatten(0, 1)
        total = F.cross_entropy(
            scores, targets.flatten(), ignore_index=NULL, reduction="sum"
        )
        return total / len(features)


class EagerLSTM(nn.Module):
    """An LSTM cell as its equations, one Python loop over the time steps."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        p = problem.parameters
        self.Wx = nn.Parameter(torch.tensor(p["Wx"]))
        self.Wh = nn.Parameter(torch.tensor(p["Wh"]))
        self.b = nn.Parameter(torch.tensor(p["b"]))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        c = torch.zeros_like(h)
        outputs = []
        for step in x.unbind(1):
            i, f, o, g = (step @ self.Wx + h @ self.Wh + self.b).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1)


class LibraryLSTM(nn.Module):
    """nn.LSTM behind the same call: x (N, T, D), h0 (N, H) -> (N, T, H)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.layer = recurrent(nn.LSTM, problem, gate_order=(0, 1, 3, 2))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.layer(x, (h[None], torch.zeros_like(h)[None]))[0]


class LibraryRNN(nn.Module):
    """nn.RNN behind the same call."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.layer = recurrent(nn.RNN, problem, gate_order=(0,))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.layer(x, h[None])[0]


def captioning(layer: Callable[[Problem], nn.Module]) -> Callable[[Problem], Step]:
    """Return the training of a captioner around `layer`."""

    def make(problem: Problem) -> Step:
        model = Captioner(problem, layer(problem))
        features = put(problem.inputs["features"])
        captions = put(problem.inputs["captions"])
        return training(model, lambda: model(features, captions))

    return make


def lstm_layer(problem: Problem) -> Step:
    """Run nn.LSTM alone, forward and backward, from h0 = 0."""
    layer = LibraryLSTM(problem).to(DEVICE)
    x = put(problem.inputs["x"]).requires_grad_()
    h0 = torch.zeros(len(x), layer.layer.hidden_size, device=DEVICE)

    def step() -> Tensor:
        layer.zero_grad()
        x.grad = None
        h = layer(x, h0)
        loss = (h * h).mean()
        loss.backward()
        return loss

    return step


class Judge(nn.Module):
    """The course's Transformer for CoLA.

    Its heads are one product, or apart; all positions look, or the first, which is
    the only one that is read.
    """

    def __init__(self, problem: Problem, apart: bool, first: bool) -> None:
        super().__init__()
        p = problem.parameters
        self.apart, self.first_only = apart, first
        self.words = nn.Embedding.from_pretrained(torch.tensor(p["words"]), False)
        self.positions = nn.Parameter(torch.tensor(p["positions"]))
        self.norm = nn.LayerNorm(len(p["scale"]))
        heads = 2 if apart else 1
        self.projections = nn.ModuleList(
            linear(W, b)
            for name in PROJECTIONS
            for W, b in zip(
                np.split(p[f"{name} W"], heads, 1),
                np.split(p[f"{name} b"], heads),
                strict=True,
            )
        )
        rest = ("back", "first", "second", "out")
        self.back, self.first, self.second, self.out = (
            linear(p[f"{name} W"], p[f"{name} b"]) for name in rest
        )

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions
        looking = x[:, :1] if self.first_only else x
        heads = 2 if self.apart else 1
        queries = [projection(looking) for projection in self.projections[:heads]]
        others = [projection(x) for projection in self.projections[heads:]]
        projected = queries + others
        mixed = self.mix_apart(projected) if self.apart else self.mix(projected)
        x = self.norm(looking + self.back(mixed))
        x = self.norm(x + self.second(F.relu(self.first(x))))
        return self.out(x[:, 0])[:, 0]

    def mix(self, projected: list[Tensor]) -> Tensor:
        q, k, v = (x.unflatten(2, (2, -1)).transpose(1, 2) for x in projected)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).flatten(2)

    def mix_apart(self, projected: list[Tensor]) -> Tensor:
        outputs = []
        for q, k, v in zip(projected[:2], projected[2:4], projected[4:], strict=True):
            scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
            outputs.append(torch.softmax(scores, dim=-1) @ v)
        return torch.cat(outputs, dim=-1)


def judge(problem: Problem, apart: bool = False, first: bool = False) -> Step:
    """Train the course's Transformer for CoLA."""
    model = Judge(problem, apart, first)
    ids = put(problem.inputs["ids"])
    labels = put(problem.inputs["labels"])
    return training(
        model, lambda: F.binary_cross_entropy_with_logits(model(ids), labels)
    )


def fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's own, in blocks."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def eager_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The equation, all scores at once."""
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    future = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1) @ v


def attention(problem: Problem, attend: Callable[..., Tensor]) -> Step:
    """Attend to the past, forward and backward."""
    inputs = [put(a).requires_grad_() for a in problem.inputs.values()]

    def step() -> Tensor:
        for tensor in inputs:
            tensor.grad = None
        y = attend(*inputs)
        loss = (y * y).mean()
        loss.backward()
        return loss

    return step


class Fire(nn.Module):
    """As torchvision writes it."""

    def __init__(self, inputs: int, few: int, many: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.expand1x1 = nn.Conv2d(few, many, 1)
        self.expand3x3 = nn.Conv2d(few, many, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        few = F.relu(self.squeeze(x), inplace=True)
        both = [F.relu(f(few), inplace=True) for f in (self.expand1x1, self.expand3x3)]
        return torch.cat(both, 1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1, as torchvision writes it."""

    def __init__(self) -> None:
        super().__init__()
        fires = [
            Fire(*fire) if fire else nn.MaxPool2d(3, stride=2, ceil_mode=True)
            for fire in FIRES
        ]
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), *fires
        )
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).mean((2, 3))


def squeezenet(
    problem: Problem,
    gradient: bool = False,
    layout: torch.memory_format = torch.contiguous_format,
) -> Step:
    """Score pictures, or find which way a class's score grows."""
    network = SqueezeNet().eval().requires_grad_(False)
    network.load_state_dict({k: torch.tensor(v) for k, v in problem.parameters.items()})
    network.to(DEVICE, memory_format=layout)
    images = put(problem.inputs["images"]).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=layout)
    classes = put(problem.inputs["classes"])

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            scores = network(images)
        return scores.sum(), scores.abs().max()

    def with_slope() -> tuple[Tensor, ...]:
        x = images.clone(memory_format=layout).requires_grad_()
        scores = network(x)
        scores[torch.arange(len(x), device=DEVICE), classes].sum().backward()
        assert x.grad is not None
        return scores.detach().sum(), x.grad.abs().sum(), x.grad.abs().max()

    return with_slope if gradient else forward


def picture_gradients(
    weights: Mapping[str, np.ndarray], pictures: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return SqueezeNet's scores, and the gradients of those asked for by the pixels.

    Shapes: pictures (N, 3, H, W), classes (N,); (N, 1000) and (N, 3, H, W).
    """
    network = SqueezeNet().eval().requires_grad_(False)
    network.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    x = torch.tensor(pictures).requires_grad_()
    scores = network(x)
    scores[torch.arange(len(x)), torch.tensor(classes)].sum().backward()
    assert x.grad is not None
    return scores.detach().numpy(), x.grad.numpy()


def training(
    model: nn.Module, loss_of: Callable[[], Tensor], fused: bool = True
) -> Step:
    """Return a step of Adam on the model's parameters."""
    model.to(DEVICE)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE, fused=fused)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def linear(W: np.ndarray, b: np.ndarray) -> nn.Linear:
    """Return nn.Linear with weights W (in, out) and bias b (out,)."""
    layer = nn.Linear(*W.shape)
    layer.load_state_dict({"weight": torch.tensor(W.T), "bias": torch.tensor(b)})
    return layer


def recurrent(
    kind: type[nn.RNNBase], problem: Problem, gate_order: tuple[int, ...]
) -> nn.RNNBase:
    """Return nn.LSTM or nn.RNN with the common weights.

    The second bias stays zero and is not trained: the others have one bias.
    """
    p = problem.parameters

    def converted(array: np.ndarray) -> Tensor:
        gates = np.split(array, len(gate_order), axis=-1)
        return torch.tensor(np.concatenate([gates[i] for i in gate_order], -1).T)

    layer = kind(p["Wx"].shape[0], p["Wh"].shape[0], batch_first=True)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(converted(p["Wx"]))
        layer.weight_hh_l0.copy_(converted(p["Wh"]))
        layer.bias_ih_l0.copy_(converted(p["b"]))
        layer.bias_hh_l0.zero_().requires_grad_(False)
    return layer


WORKS = {
    "operation": {"PyTorch": chain},
    "chain": {"PyTorch": chain},
    "mlp": {"PyTorch": mlp, "PyTorch default Adam": partial(mlp, fused=False)},
    "lstm": {
        "PyTorch nn.LSTM": captioning(LibraryLSTM),
        "PyTorch eager cell": captioning(EagerLSTM),
    },
    "rnn": {"PyTorch nn.RNN": captioning(LibraryRNN)},
    "layer": {"PyTorch nn.LSTM": lstm_layer},
    "judge": {
        "PyTorch": judge,
        "PyTorch, heads apart": partial(judge, apart=True),
        "PyTorch, first position only": partial(judge, first=True),
    },
    "attention": {
        "PyTorch": partial(attention, attend=fused_attention),
        "PyTorch, all at once": partial(attention, attend=eager_attention),
    },
    **{
        name: {
            "PyTorch": partial(squeezenet, gradient=gradient),
            "PyTorch channels-last": partial(
                squeezenet, gradient=gradient, layout=torch.channels_last
            ),
        }
        for name, gradient in (("squeezenet", False), ("squeezenet-gradient", True))
    },
}
