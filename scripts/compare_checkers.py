"""Gradient checkers compared: which wrong gradients each of them misses.

Run it from the root of the project, where the peers are installed (extra "peers"):

    python -m scripts.compare_checkers

Every rule below is written once and given to minigrad, PyTorch, JAX, autograd and
DeZero as a primitive of their own; each library's own checker then runs on random
operands, with its defaults. It prints a table in Markdown. A peer that is not installed
is left out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.testing import check_primitive

CAUGHT, MISSED, REFUSED = "caught", "missed", "refuses the right rule"


class Case(NamedTuple):
    """A function of one operand, its slope, and the factor that makes it wrong.

    `forward` and `slope` take (library, a), and `factor` what it compares: numbers that
    no gradient goes through. `frozen`: none goes through the slope either.
    """

    forward: Callable[..., Any]
    slope: Callable[..., Any]
    factor: Callable[..., Any] = lambda xp, a: 1.0
    uses_cotangent: bool = True
    frozen: bool = False
    positive: bool = False


def exp(xp: Any, a: Any) -> Any:
    """The function whose rules are broken: its slope is itself."""
    return xp.exp(a)


def at(condition: Callable[[Any], Any], wrong: float = 2.0) -> Callable[..., Any]:
    """`wrong` where the condition holds, and 1 elsewhere."""
    return lambda xp, a: xp.where(condition(a), wrong, 1.0)


def is_negative_zero(xp: Any, a: Any) -> Any:
    """The sign of a zero shows in its inverse."""
    bottom = xp.where(a == 0, a, 1.0)
    return xp.where(1 / bottom == -np.inf, 2.0, 1.0)


def all_equal(xp: Any, a: Any) -> Any:
    """2 where no element differs from the first."""
    first = a.reshape(-1)[:1]
    return xp.where(abs(a - first).sum() == 0, 2.0, 1.0)


def one_element(xp: Any, a: Any) -> Any:
    """A hundredth too much for the last element."""
    factor = np.ones(a.shape)
    factor[-1, -1] = 1.01
    return factor if xp is not sys.modules.get("torch") else xp.tensor(factor)


CASES = {
    "none: the rule is right": Case(exp, exp),
    "the gradient is zero": Case(exp, exp, lambda xp, a: 0.0),
    "the wrong sign": Case(exp, exp, lambda xp, a: -1.0),
    "a thousandth too much": Case(exp, exp, lambda xp, a: 1.001),
    "wrong in the tenth digit": Case(exp, exp, lambda xp, a: 1 + 1e-10),
    "the cotangent is ignored": Case(exp, exp, uses_cotangent=False),
    "one element, by a hundredth": Case(exp, exp, one_element),
    "right, but not its derivative": Case(exp, exp, frozen=True),
    "NaN at 0 (a * y / a)": Case(exp, lambda xp, a: a * xp.exp(a) / a),
    "wrong at 0": Case(exp, exp, at(lambda a: a == 0)),
    "wrong at -0.0": Case(exp, exp, is_negative_zero),
    "wrong at 1": Case(exp, exp, at(lambda a: a == 1)),
    "wrong at -1": Case(exp, exp, at(lambda a: a == -1)),
    "wrong where all elements are equal": Case(exp, exp, all_equal),
    "NaN at the end of the domain (a ** 1.5)": Case(
        lambda xp, a: a**1.5, lambda xp, a: 1.5 * a**1.5 / a, positive=True
    ),
}


def operands(case: Case) -> np.ndarray:
    """What a user would try it on: normal numbers."""
    a = np.random.default_rng(0).standard_normal((2, 3))
    return np.abs(a) + 0.1 if case.positive else a


# -- the libraries -----------------------------------------------------------------


def pulled(case: Case, xp: Any, g: Any, a: Any, stop: Callable[[Any], Any]) -> Any:
    """The broken rule; `stop` takes a value off the tape."""
    slope = case.slope(xp, stop(a) if case.frozen else a)
    result = slope * case.factor(xp, stop(a))
    return g * result if case.uses_cotangent else result + g * 0


def minigrad(case: Case, a: np.ndarray) -> None:
    """Ours."""

    def forward(a: Any) -> Any:
        return case.forward(np, a)

    def stop(x: Any) -> Any:
        return mg.Tensor(x.data) if isinstance(x, mg.Tensor) else x

    facts = (
        {"domain": {"a": (0, np.inf)}, "closed": {"a": (0,)}} if case.positive else {}
    )
    rule = lambda g, a: pulled(case, mg, g, a, stop)  # noqa: E731
    check_primitive(mg.primitive(rule, **facts)(forward), a, order=2)


def pytorch(case: Case, a: np.ndarray) -> None:
    """PyTorch's gradcheck; second orders have a checker of their own there."""
    torch = importlib.import_module("torch")

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            ctx.save_for_backward(a)
            return case.forward(torch, a)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return pulled(case, torch, g, *ctx.saved_tensors, lambda x: x.detach())

    torch.autograd.gradcheck(Broken.apply, torch.tensor(a, requires_grad=True))


def jax_(case: Case, a: np.ndarray) -> None:
    """JAX's check_grads, in float64."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jnp, stop = jax.numpy, jax.lax.stop_gradient
    f = jax.custom_vjp(lambda a: case.forward(jnp, a))
    f.defvjp(
        lambda a: (case.forward(jnp, a), a),
        lambda a, g: (pulled(case, jnp, g, a, stop),),
    )
    check = importlib.import_module("jax.test_util").check_grads
    check(f, (jnp.asarray(a),), order=2, modes=["rev"])  # a custom rule has one mode


def autograd(case: Case, a: np.ndarray) -> None:
    """HIPS autograd's check_grads."""
    xp = importlib.import_module("autograd.numpy")
    extend = importlib.import_module("autograd.extend")
    stop = importlib.import_module("autograd.tracer").getval
    f = extend.primitive(lambda a: case.forward(np, a))
    extend.defvjp(f, lambda y, a: lambda g: pulled(case, xp, g, a, stop))
    check = importlib.import_module("autograd.test_util").check_grads
    check(f, modes=["rev"])(a)  # a custom rule has one mode


def dezero(case: Case, a: np.ndarray) -> None:
    """DeZero's gradient_check."""
    vars(np).setdefault("int", int)  # DeZero 0.0.13 was written for NumPy before 1.24
    library = importlib.import_module("dezero")

    class Broken(library.Function):
        def forward(self, a: Any) -> Any:
            return case.forward(np, a)

        def backward(self, g: Any) -> Any:
            (a,) = self.inputs
            slope = case.slope(library.functions, a)
            slope = library.as_variable(slope.data) if case.frozen else slope
            result = slope * np.asarray(case.factor(np, a.data))
            return g * result if case.uses_cotangent else result + g * 0

    found = importlib.import_module("dezero.utils").gradient_check(Broken(), a)
    assert found, "gradient_check returned False"


CHECKERS: dict[str, tuple[str, str, Callable[[Case, np.ndarray], None]]] = {
    "minigrad": ("", "check_primitive", minigrad),
    "PyTorch": ("torch", "gradcheck", pytorch),
    "JAX": ("jax", "check_grads", jax_),
    "autograd": ("autograd", "check_grads", autograd),
    "DeZero": ("dezero", "gradient_check", dezero),
}


def installed(package: str) -> str | None:
    """The version of a peer, or None; ours has none to be asked for."""
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return None


def outcome(check: Callable[[Case, np.ndarray], None], case: Case) -> str:
    """Whether a checker refuses a broken rule."""
    told = contextlib.redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), np.errstate(all="ignore"), told:
        warnings.simplefilter("ignore")
        try:
            check(case, operands(case))
        except Exception:  # each has an error of its own
            return CAUGHT
    return MISSED


def main() -> None:
    """Print the table."""
    found = {n: (installed(p), f, c) for n, (p, f, c) in CHECKERS.items()}
    used = {n: parts for n, parts in found.items() if parts[0] is not None}
    print(
        "| what is wrong | " + " | ".join(f"{n} `{f}`" for n, (_, f, _) in used.items())
    )
    print("| --- |" + " --- |" * len(used))
    missed = dict.fromkeys(used, 0)
    for what, case in CASES.items():
        row = {n: outcome(check, case) for n, (_, _, check) in used.items()}
        if what.startswith("none"):
            row = {n: "accepted" if o == MISSED else REFUSED for n, o in row.items()}
        missed = {n: missed[n] + (row[n] == MISSED) for n in used}
        print(f"| {what} | " + " | ".join(row.values()) + " |")
    print("| missed | " + " | ".join(map(str, missed.values())) + " |")
    print()
    print(", ".join(f"{n} {v}".strip() for n, (v, _, _) in used.items()))


if __name__ == "__main__":
    main()
