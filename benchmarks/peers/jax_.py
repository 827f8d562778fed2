"""How does JAX do each work? Training steps as one jitted function, arrays donated.

Single operations are also recorded eagerly; the long chain is not, because that would
take half a minute a step: there it is a compiled loop.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from benchmarks.peers import Step
from benchmarks.works import LEARNING_RATE, NULL, Problem

VERSION = jax.__version__
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
Parameters = dict[str, Array]
Loss = Callable[[Parameters, Mapping[str, Array]], Array]


def kernels() -> str:
    """Say who makes JAX's kernels."""
    return "XLA (Eigen)"


def synchronize() -> None:
    """Nothing is put off: numbers are read, or steps wait."""


def product_chain(x: Array, w: Array, length: int) -> Array:
    """Multiply x by w `length` times as one compiled loop."""
    y, _ = lax.scan(lambda y, _: (y * w, None), x, length=length)
    return y[0]


def eager_product_chain(x: Array, w: Array, length: int) -> Array:
    """Multiply x by w `length` times, an operation at a time."""
    y = x
    for _ in range(length):
        y = y * w
    return y[0]


def chain(problem: Problem, compiled: bool) -> Step:
    """Return the value and both gradients of a chain, compiled or eager."""
    x, w = (jnp.array(a) for a in problem.parameters.values())
    product = product_chain if compiled else eager_product_chain
    function = partial(product, length=problem.length)
    value_and_grad = jax.value_and_grad(function, argnums=(0, 1))
    if compiled:
        value_and_grad = jax.jit(value_and_grad)

    def step() -> tuple[Array, ...]:
        y, gradients = jax.block_until_ready(value_and_grad(x, w))
        return y, *gradients

    return step


def mlp_loss(p: Parameters, inputs: Mapping[str, Array]) -> Array:
    """Return the mean cross-entropy of three affine layers with ReLU between."""
    h = jax.nn.relu(inputs["x"] @ p["W0"] + p["b0"])
    h = jax.nn.relu(h @ p["W1"] + p["b1"])
    return cross_entropies(h @ p["W2"] + p["b2"], inputs["labels"]).mean()


def captioning_loss(
    p: Parameters, inputs: Mapping[str, Array], layer: Callable[..., Array]
) -> Array:
    """Return the captioner's loss, summed over words and divided by N."""
    words, targets = inputs["captions"][:, :-1], inputs["captions"][:, 1:]
    h0 = inputs["features"] @ p["W_proj"] + p["b_proj"]
    h = layer(p, p["W_embed"][words.T], h0)
    losses = cross_entropies(h @ p["W_vocab"] + p["b_vocab"], targets.T)
    return jnp.sum(losses * (targets.T != NULL)) / len(targets)


def lstm(p: Parameters, x: Array, h0: Array) -> Array:
    """Run an LSTM over x (T, N, D) -> (T, N, H), x @ Wx for all steps beforehand."""

    def cell(state: tuple[Array, Array], ax: Array) -> tuple[Any, Array]:
        h, c = state
        i, f, o, g = jnp.split(ax + h @ p["Wh"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(cell, (h0, jnp.zeros_like(h0)), x @ p["Wx"] + p["b"])[1]


def rnn(p: Parameters, x: Array, h0: Array) -> Array:
    """Run an RNN over x (T, N, D) -> (T, N, H), x @ Wx for all steps beforehand."""

    def cell(h: Array, ax: Array) -> tuple[Array, Array]:
        h = jnp.tanh(ax + h @ p["Wh"])
        return h, h

    return lax.scan(cell, h0, x @ p["Wx"] + p["b"])[1]


def cross_entropies(scores: Array, labels: Array) -> Array:
    """Return the cross-entropy of each row."""
    log_probabilities = jax.nn.log_softmax(scores)
    return -jnp.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0]


def training(loss: Loss) -> Callable[[Problem], Step]:
    """Return the making of a step of Adam on `loss`."""

    def make(problem: Problem) -> Step:
        parameters = {k: jnp.array(v) for k, v in problem.parameters.items()}
        inputs = {k: jnp.array(v) for k, v in problem.inputs.items()}
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = [parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0)]
        update = jax.jit(partial(adam_step, loss), donate_argnums=0)

        def step() -> Array:
            state[:], value = jax.block_until_ready(update(tuple(state), inputs))
            return value

        return step

    return make


def adam_step(loss: Loss, state: tuple[Any, ...], inputs: Mapping[str, Array]) -> Any:
    """Return the state after one step of Adam, and the loss before it."""
    parameters, first, second, steps = state
    value, gradients = jax.value_and_grad(loss)(parameters, inputs)
    steps = steps + 1
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
    second = jax.tree.map(
        lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients
    )
    rate = LEARNING_RATE / (1 - BETA1**steps)
    correction = lax.rsqrt(1 - BETA2**steps)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) * correction + EPSILON),
        parameters,
        first,
        second,
    )
    return (parameters, first, second, steps), value


WORKS = {
    "operation": {
        "JAX jit": partial(chain, compiled=True),
        "JAX eager": partial(chain, compiled=False),
    },
    "chain": {"JAX jit": partial(chain, compiled=True)},
    "mlp": {"JAX jit": training(mlp_loss)},
    "lstm": {"JAX jit": training(partial(captioning_loss, layer=lstm))},
    "rnn": {"JAX jit": training(partial(captioning_loss, layer=rnn))},
}
