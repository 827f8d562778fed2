"""What do both sides make of a sample of PyTorch's modules and optimisers?

A module's weights are PyTorch's, drawn from a seed, and its parameters' gradients are
compared too, in PyTorch's names and layouts. An optimiser takes a few steps along
gradients that are drawn.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.common_optimizers import optim_db

import minigrad as mg
import nn
from nn.torch_weights import in_torch_layout
from tests.interop.opinfo import samples
from tests.interop.opinfo.functions import NotOffered, offered
from tests.interop.opinfo.modules import MODULES, Built
from tests.interop.opinfo.samples import (
    Results,
    Sample,
    bound,
    carried,
    each_tensor,
    fresh,
)

STEPS = 5

# -- modules -----------------------------------------------------------------------

INFOS = {info.name: info for info in module_db}


def samples_of_module(name: str, dtype: str) -> Iterator[Sample]:
    """A module's samples, in training and, where that differs, in evaluation."""
    info, kind = INFOS[name], getattr(torch, dtype)
    modes = (True, False) if info.train_and_eval_differ else (True,)
    for training in modes:
        samples.seed_all(f"{name} {dtype} {training}")
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=kind, requires_grad=True, training=training
        )
        for number, given in enumerate(inputs):
            key = f"{name} {dtype} {training} {number}"
            built = given.constructor_input
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = info.module_cls(*built.args, **built.kwargs).to(kind)
            module.train(training)
            pair = (module, given, key)
            yield Sample(
                lambda wide, pair=pair: theirs(*pair, wide),
                lambda pair=pair: ours(MODULES[name], *pair, dtype),
            )


def theirs(module: Any, given: Any, key: str, wide: bool) -> Results:
    """What PyTorch's module computes, with the gradients of its parameters."""
    module = copy.deepcopy(module)
    module = module.double() if wide else module
    known: dict[int, torch.Tensor] = {}
    call = given.forward_input
    args, settings = each_tensor(
        (list(call.args), call.kwargs), lambda x: fresh(x, known, wide)
    )
    outputs = module(*args, **settings)
    leaves = samples.leaves_of((args, settings))
    parameters = dict(compared_parameters(module))
    results = samples.their_results(outputs, [*leaves, *parameters.values()], key)
    names = [f"gradient {i}" for i in range(len(leaves) + len(parameters))]
    for old, name in zip(names[len(leaves) :], parameters, strict=True):
        results[f"gradient {name}"] = results.pop(old)
    return results


def compared_parameters(module: Any) -> Iterator[tuple[str, Any]]:
    """All parameters; of two biases that are only added, the first."""
    for name, parameter in module.named_parameters():
        place, _, last = name.rpartition(".")
        kind = type(module.get_submodule(place)).__name__
        if not (last.startswith("bias_hh") and "GRU" not in kind):
            yield name, parameter


def ours(adapter: Any, module: Any, given: Any, key: str, dtype: str) -> Results:
    """What our module computes with the same weights."""
    made = given.constructor_input
    call = bound(adapter, list(made.args), {**made.kwargs, "dtype": dtype})
    built = adapter(*call.args, **call.kwargs)
    load(built, {name: p.detach().numpy() for name, p in module.named_parameters()})
    known: dict[int, mg.Tensor] = {}
    given = (list(given.forward_input.args), given.forward_input.kwargs)
    leaves = samples.leaves_of(given)
    args, settings = each_tensor(given, lambda x: carried(x, known))
    settings = {name: x for name, x in settings.items() if x is not None}
    outputs = built.call(*args, **settings)
    results = samples.our_results(outputs, [known[id(x)] for x in leaves], key)
    gradients = gradients_of(built)
    for name, _ in compared_parameters(module):
        results[f"gradient {name}"] = gradients[name]
    return results


def _their_name(part: str, name: str) -> str:
    """Layers one above the other are one module there, its weights numbered."""
    return name.replace("_l0", f"_l{part}")


def load(built: Built, weights: dict[str, np.ndarray]) -> None:
    """Set our weights to PyTorch's; where it has no bias, ours stays at zeros."""
    for part, module in built.parts.items():
        state = nn.torch_state_dict(module)
        for name in state:
            state[name] = weights.get(_their_name(part, name), state[name])
        nn.load_torch_state_dict(module, state)


def gradients_of(built: Built) -> Results:
    """Our parameters' gradients under PyTorch's names."""
    return {
        _their_name(part, name): array
        for part, module in built.parts.items()
        for name, array in in_torch_layout(module, _gradient).items()
    }


def _gradient(parameter: mg.Tensor) -> np.ndarray:
    if parameter.grad is None:
        return np.zeros(parameter.shape, parameter.dtype)
    return parameter.grad.numpy()


# -- optimisers --------------------------------------------------------------------


def sgd(
    params,
    *,
    lr=1e-3,
    momentum=0,
    weight_decay=0,
    dampening=0,
    nesterov=False,
    maximize=False,
):
    offered(not maximize, "steps upwards")
    offered(not dampening, "dampening")
    offered(not nesterov, "Nesterov's momentum")
    return nn.SGD(params, float(lr), momentum, weight_decay)


def _adam(kind: type[Any]) -> Any:
    def make(params, *, amsgrad=False, maximize=False, **settings):
        offered(not maximize, "steps upwards")
        offered(not amsgrad, "AMSGrad")
        if "lr" in settings:
            settings["lr"] = float(settings["lr"])
        if isinstance(settings.get("betas", (0.0,))[0], torch.Tensor):
            settings["betas"] = tuple(map(float, settings["betas"]))
        return kind(params, **settings)

    return make


OPTIMIZERS = {"Adam": _adam(nn.Adam), "AdamW": _adam(nn.AdamW), "SGD": sgd}
OPTIMIZER_INFOS = {info.name: info for info in optim_db}
SHAPES = ((3, 2), (4,), ())


def samples_of_optimizer(name: str, dtype: str) -> Iterator[Sample]:
    """Each of an optimiser's settings, over a few steps."""
    info = OPTIMIZER_INFOS[name]
    draw = np.random.default_rng(0)
    start = [draw.normal(size=shape).astype(dtype) for shape in SHAPES]
    steps = [
        [draw.normal(size=shape).astype(dtype) for shape in SHAPES]
        for _ in range(STEPS)
    ]
    for given in info.optim_inputs_func("cpu"):
        yield Sample(
            lambda wide, g=given: their_steps(info, g.kwargs, start, steps, wide),
            lambda g=given: our_steps(OPTIMIZERS[name], g.kwargs, start, steps),
        )


def their_steps(info: Any, settings: Any, start: Any, steps: Any, wide: bool) -> Any:
    """The parameters after PyTorch's steps."""
    kind = np.float64 if wide else start[0].dtype
    parameters = [torch.nn.Parameter(torch.tensor(p.astype(kind))) for p in start]
    optimizer = info.optim_cls(parameters, **settings)
    for gradients in steps:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.from_numpy(np.array(gradient, kind))
        optimizer.step()
    arrays = [p.detach().numpy() for p in parameters]
    return {f"value {i}": array for i, array in enumerate(arrays)}


def our_steps(adapter: Any, settings: Any, start: Any, steps: Any) -> Results:
    """The parameters after our steps."""
    parameters = [mg.Tensor(p, requires_grad=True) for p in start]
    try:
        optimizer = adapter(parameters, **settings)
    except TypeError as error:
        raise NotOffered(str(error)) from error
    for gradients in steps:
        optimizer.update(gradients)
    return {f"value {i}": np.array(p.numpy()) for i, p in enumerate(parameters)}
