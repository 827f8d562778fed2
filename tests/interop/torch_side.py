"""How does PyTorch compute the cases that minigrad is compared with?

Where PyTorch has two biases that only matter as their sum, the second is kept from
training: trained both, the sum would move twice as fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.interop.cases import HEADS, PADDING, D, E, H, N, T, V, ids, waves

torch.set_num_threads(1)


class Layer(NamedTuple):
    """A module, and how it is called: every output in one tuple."""

    make: Callable[[], nn.Module]
    call: Callable[..., tuple[Any, ...]] = lambda module, *inputs: (module(*inputs),)


class Tagger(nn.Module):
    """Modules inside a module."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(V, D)
        self.lstm = nn.LSTM(D, H, batch_first=True)
        self.head = nn.Sequential(nn.Linear(H, D), nn.Tanh())

    def forward(self, words):
        outputs, _ = self.lstm(self.embedding(words))
        return self.head(outputs)


def recurrent(kind):
    return lambda: double(kind(D, H, batch_first=True))


def cell(kind):
    return lambda: double(kind(D, H))


def double(module):
    """A module in float64, of whose pairs of biases only the first is trained."""
    for owner in module.modules():
        if isinstance(owner, nn.LSTM | nn.RNN | nn.LSTMCell | nn.RNNCell):
            for name, parameter in owner.named_parameters():
                parameter.requires_grad_("bias_hh" not in name)
    return module.double()


def outputs_and_state(module, x, *state):
    outputs, h = module(x, *(h[None] for h in state))
    return outputs, h[0]


def lstm(module, x, *state):
    outputs, (h, c) = module(x, tuple(s[None] for s in state) or None)
    return outputs, h[0], c[0]


def attention():
    return nn.MultiheadAttention(E, HEADS, batch_first=True).double()


def attend(module, x, y, **settings):
    """What comes out, and the weights of each head."""
    return module(x, y, y, average_attn_weights=False, **settings)


def encoder():
    return Stack(nn.TransformerEncoderLayer).double()


def decoder():
    return Stack(nn.TransformerDecoderLayer).double()


def gelu(x):
    return F.gelu(x, approximate="tanh")


class Stack(nn.Module):
    """Two layers of different kinds, and a last normalisation.

    PyTorch's own stacks make copies of one layer.
    """

    def __init__(self, layer_kind):
        super().__init__()
        made = {"dropout": 0.0, "batch_first": True}
        first = layer_kind(E, HEADS, H, **made)
        second = layer_kind(E, HEADS, H, norm_first=True, activation=gelu, **made)
        self.layers = nn.ModuleList([first, second])
        self.norm = nn.LayerNorm(E)

    def forward(self, x, *memory, **settings):
        for each in self.layers:
            x = each(x, *memory, **settings)
        return self.norm(x)


class Course(nn.Module):
    """The course's Transformer, each head by itself and one normalisation twice."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(V, E)
        self.positions = nn.Module()
        self.positions.W = nn.Parameter(torch.zeros(T, E))
        self.layer = nn.Module()
        self.layer.self_attn = nn.Module()
        self.layer.self_attn.in_proj_weight = nn.Parameter(torch.zeros(3 * 6, E))
        self.layer.self_attn.in_proj_bias = nn.Parameter(torch.zeros(3 * 6))
        self.layer.self_attn.out_proj = nn.Linear(6, E)
        self.layer.linear1 = nn.Linear(E, H)
        self.layer.linear2 = nn.Linear(H, E)
        self.layer.norm1 = nn.LayerNorm(E)
        self.layer.norm2 = self.layer.norm1
        self.out = nn.Linear(E, 1)

    def forward(self, ids):
        layer = self.layer
        x = self.words(ids) + self.positions.W
        x = layer.norm1(x + self.attend(x))
        x = layer.norm2(x + layer.linear2(torch.relu(layer.linear1(x))))
        return self.out(x[:, 0])[:, 0]

    def attend(self, x):
        attention = self.layer.self_attn
        projected = x @ attention.in_proj_weight.T + attention.in_proj_bias
        q1, q2, k1, k2, v1, v2 = projected.split(3, dim=-1)
        heads = []
        for q, k, v in ((q1, k1, v1), (q2, k2, v2)):
            scores = q @ k.transpose(1, 2) / 3**0.5
            heads.append(torch.softmax(scores, dim=-1) @ v)
        return attention.out_proj(torch.cat(heads, dim=-1))


# PyTorch's layers take masks that are True where nothing may be looked at.
ABSENT = torch.from_numpy(~PADDING)
FUTURE = torch.ones(T, T, dtype=torch.bool).triu(1)

LAYERS = {
    "Linear": Layer(lambda: nn.Linear(D, 4).double()),
    "Linear without bias": Layer(lambda: nn.Linear(D, 4, bias=False).double()),
    "Embedding": Layer(lambda: nn.Embedding(V, D).double()),
    "RNNCell": Layer(cell(nn.RNNCell)),
    "RNN": Layer(recurrent(nn.RNN), outputs_and_state),
    "LSTMCell": Layer(cell(nn.LSTMCell), lambda m, x, h, c: m(x, (h, c))),
    "LSTM": Layer(recurrent(nn.LSTM), lstm),
    "GRUCell": Layer(cell(nn.GRUCell)),
    "GRU": Layer(recurrent(nn.GRU), outputs_and_state),
    "Dropout at rest": Layer(
        lambda: nn.Sequential(nn.Linear(D, 4), nn.Dropout(0.5)).double().eval()
    ),
    "Dropout of nothing": Layer(
        lambda: nn.Sequential(nn.Linear(D, 4), nn.Dropout(0.0)).double()
    ),
    "Sequential": Layer(
        lambda: nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    ),
    "Tagger": Layer(lambda: double(Tagger())),
    "Conv2d": Layer(lambda: nn.Conv2d(D, H, (2, 3), stride=2, padding=1).double()),
    "pooling": Layer(
        lambda: nn.Sequential(
            nn.Conv2d(D, H, 1),
            nn.MaxPool2d(2, stride=1, padding=1),
            nn.AvgPool2d(2, ceil_mode=True),
        ).double()
    ),
    "LayerNorm": Layer(lambda: nn.LayerNorm(E).double()),
    "attention to itself": Layer(attention, lambda m, x: attend(m, x, x)),
    "attention to others": Layer(attention, attend),
    "attention without padding": Layer(
        attention, lambda m, x: attend(m, x, x, key_padding_mask=ABSENT)[:1]
    ),
    "attention to the past": Layer(
        attention, lambda m, x: attend(m, x, x, attn_mask=FUTURE)[:1]
    ),
    "encoder without padding": Layer(
        encoder, lambda m, x: (m(x, src_key_padding_mask=ABSENT),)
    ),
    "encoder of the past": Layer(encoder, lambda m, x: (m(x, src_mask=FUTURE),)),
    "the course's Transformer": Layer(lambda: Course().double()),
    "decoder": Layer(decoder, lambda m, x, y: (m(x, y, tgt_mask=FUTURE),)),
    "decoder without padding": Layer(
        decoder,
        lambda m, x, y: (
            m(
                x,
                y,
                tgt_mask=FUTURE,
                tgt_key_padding_mask=ABSENT,
                memory_key_padding_mask=ABSENT[:, 1:],
            ),
        ),
    ),
}


def constant(array):
    return torch.from_numpy(array)


def weighted_squares(*outputs):
    parts = [
        (y * y * constant(waves(tuple(y.shape), f"weights {k}"))).sum()
        for k, y in enumerate(outputs)
    ]
    return sum(parts[1:], parts[0])


def temporal_softmax_loss(scores):
    targets = ids((N, T), 4, "targets")
    mask = np.array([[True, True, False], [True, False, False]])
    flat = constant(np.where(mask, targets, -100).reshape(-1))
    return F.cross_entropy(scores.reshape(N * T, 4), flat, reduction="sum") / N


LOSSES = {
    "weighted squares": weighted_squares,
    "temporal_softmax_loss": temporal_softmax_loss,
}

for _reduction in ("mean", "sum", "none"):
    LOSSES |= {
        f"cross_entropy {_reduction}": lambda y, r=_reduction: F.cross_entropy(
            y, constant(ids((4,), 4, "targets")), reduction=r
        ),
        f"mse_loss {_reduction}": lambda y, r=_reduction: F.mse_loss(
            y, constant(waves((4, 4), "targets")), reduction=r
        ),
        f"bce_with_logits {_reduction}": (
            lambda y, r=_reduction: F.binary_cross_entropy_with_logits(
                y, constant(abs(waves((4, 4), "targets"))), reduction=r
            )
        ),
    }

OTHER = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}


def trained(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda parameters: make([p for p in parameters if p.requires_grad])


OPTIMIZERS = {
    "SGD": trained(lambda p: torch.optim.SGD(p, 0.1)),
    "SGD momentum": trained(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "SGD weight decay": trained(lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.2)),
    "SGD momentum and weight decay": trained(
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.2)
    ),
    "Adam": trained(lambda p: torch.optim.Adam(p, 0.01)),
    "Adam weight decay": trained(lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.2)),
    "Adam other settings": trained(lambda p: torch.optim.Adam(p, 0.01, **OTHER)),
    "AdamW": trained(lambda p: torch.optim.AdamW(p, 0.01)),
    "AdamW other settings": trained(lambda p: torch.optim.AdamW(p, 0.01, **OTHER)),
}


def cosine_with_warmup(optimizer):
    schedules = torch.optim.lr_scheduler
    warmup = schedules.LinearLR(optimizer, start_factor=1 / 3, total_iters=2)
    cosine = schedules.CosineAnnealingLR(optimizer, T_max=3)
    return Quiet(schedules.SequentialLR(optimizer, [warmup, cosine], milestones=[2]))


class Quiet:
    """A schedule without the warning that SequentialLR draws upon itself."""

    def __init__(self, schedule):
        self.schedule = schedule

    def step(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.schedule.step()


SCHEDULES = {
    "ExponentialDecay": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.7),
    "CosineWithWarmup": cosine_with_warmup,
}

FUNCTIONS = {
    "abs": torch.abs,
    "add": torch.add,
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, stride=2, padding=1),
    "astype float32": lambda x: x.to(torch.float32),
    "broadcast_to": lambda x: x.broadcast_to(2, 3),
    "clip": lambda x: torch.clamp(x, -0.5, 0.5),
    "clip from below": lambda x: torch.clamp(x, min=0.0),
    "concatenate": lambda a, b: torch.cat([a, b], dim=1),
    "conv2d": lambda x, w: F.conv2d(x, w, stride=(2, 1)),
    "conv_transpose2d": lambda x, w: F.conv_transpose2d(x, w, stride=2),
    "cos": torch.cos,
    "cumsum": lambda x: torch.cumsum(x, dim=1),
    "divide": torch.divide,
    "einsum batched product": lambda a, b: torch.einsum("nij,njk->nik", a, b),
    "einsum of three": lambda a, b, c: torch.einsum("ij,jk,kl->li", a, b, c),
    "einsum trace": lambda x: torch.einsum("ii->i", x),
    "exp": torch.exp,
    "expand_dims": lambda x: x.unsqueeze(1),
    "expm1": torch.expm1,
    "flip": lambda x: torch.flip(x, [1]),
    "gelu": gelu,
    "getitem": lambda x: x[1:, None, ::2],
    "getitem by ids": lambda x, i: x[i],
    "log": lambda x: torch.log(x + 2),
    "log1p": lambda x: torch.log1p(x * 0.5),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "log_softmax axis 0": lambda x: F.log_softmax(x, dim=0),
    "logsumexp": lambda x: torch.logsumexp(x, dim=1),
    "logsumexp all": lambda x: torch.logsumexp(x, dim=(0, 1)),
    "matmul": torch.matmul,
    "matmul batched": torch.matmul,
    "matmul vector": torch.matmul,
    "max": lambda x: torch.amax(x, dim=1),
    "max_pool2d": lambda x: F.max_pool2d(x, 3, stride=2, ceil_mode=True),
    "maximum": torch.maximum,
    "mean": lambda x: torch.mean(x, dim=1, keepdim=True),
    "mean all": torch.mean,
    "min": lambda x: torch.amin(x, dim=1),
    "minimum": torch.minimum,
    "multiply": torch.multiply,
    "negative": torch.negative,
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1),
    "norm all": torch.linalg.vector_norm,
    "pad": lambda x: F.pad(x, (0, 2, 1, 0)),
    "power": lambda x: torch.pow(x + 2, 1.5),
    "prod": lambda x: torch.prod(x, dim=1),
    "prod with a zero": lambda x: torch.prod(
        x * torch.tensor([[0.0, 1, 1], [1, 1, 1]], dtype=torch.float64), dim=1
    ),
    "relu": torch.relu,
    "reshape": lambda x: x.reshape(3, 2),
    "scaled_dot_product_attention": lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, ~ABSENT[:, None, None, 1:]
    ),
    "scaled_dot_product_attention to the past": lambda q, k, v: (
        F.scaled_dot_product_attention(q, k, v, is_causal=True)
    ),
    "scatter_add": lambda x, i: torch.zeros(3, 2, dtype=x.dtype).index_add(0, i, x),
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "softmax axis 0": lambda x: F.softmax(x, dim=0),
    "softplus": lambda x: F.softplus(3 * x),
    "split": lambda x: torch.split(x, [2, 3], dim=1)[1],
    "sqrt": lambda x: torch.sqrt(x + 2),
    "squeeze": lambda x: torch.squeeze(x, dim=1),
    "stack": lambda a, b: torch.stack([a, b], dim=1),
    "std": lambda x: torch.std(x, dim=1, correction=0),
    "std unbiased": lambda x: torch.std(x, dim=1, correction=1),
    "subtract": torch.subtract,
    "sum": lambda x: torch.sum(x, dim=0),
    "sum all": torch.sum,
    "swapaxes": lambda x: torch.swapaxes(x, 0, 2),
    "take": lambda x, i: x[i],
    "tanh": torch.tanh,
    "transpose": lambda x: x.permute(2, 0, 1),
    "unstack": lambda x: torch.unbind(x, dim=1)[1],
    "var": lambda x: torch.var(x, dim=1, correction=0),
    "var unbiased": lambda x: torch.var(x, dim=1, correction=1),
    "where": lambda a, b: torch.where(a > 0, a, b),
}


def tensor(array):
    """A leaf, if numbers of this dtype have gradients."""
    return torch.tensor(array, requires_grad=array.dtype.kind == "f")


def array(value):
    return value.detach().numpy().copy()


def state(module):
    """The weights, each bias that is not trained added to the one that is."""
    return folded(module, array)


def folded(module, values):
    parameters = dict(module.named_parameters(remove_duplicate=False))
    arrays = {name: values(parameter) for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            arrays[name.replace("bias_hh", "bias_ih")] += arrays[name]
            arrays[name] = np.zeros_like(arrays[name])
    return arrays


def load(module, arrays):
    module.load_state_dict({name: constant(a.copy()) for name, a in arrays.items()})


def gradients(module):
    return folded(
        module, lambda p: np.zeros(p.shape) if p.grad is None else array(p.grad)
    )


def rate(optimizer):
    return optimizer.param_groups[0]["lr"]


def clip(parameters, max_norm):
    """Clip as PyTorch does, but without the 1e-6 that it adds to the norm."""
    owners = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in owners])
    nn.utils.clip_grads_with_norm_(owners, max_norm, norm - 1e-6)
    return float(norm)
