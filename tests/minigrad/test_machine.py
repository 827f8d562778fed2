"""Can any sequence of steps lead to a wrong gradient, or to an undocumented error?

A machine creates, operates, views, writes in place, detaches, walks back once and twice
and deletes, in any order. Beside it stands a model that knows no tape: mirrors of all
arrays (NumPy's own views, so that it knows who shares memory), and for each result a
note of the values that it was computed from. From these notes the right gradient
follows by power series, and whether a kept array was written since. Each step must give
that gradient, or exactly the error that the model foresees.
"""

from __future__ import annotations

import gc
import itertools
import sys

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import minigrad as mg
from minigrad.tape import writes
from tests.minigrad.helpers import live_entries
from tests.support import series

# What the errors say (docs/errors.md and the messages themselves).
FREED = "the tape was already freed"
STALE = "changed that array in place before backward"
NOT_RECORDED = "no gradient can reach"
NEEDS_START = "needs a starting gradient"
RESULT = "would make its gradient wrong"
LEAF = "on a leaf that requires gradients"
CARRIES = "with values that carry gradients"
READ_ONLY = "read-only"
FOLLOWS = "follows from its operands"
NOT_REQUIRED = "does not require gradients"

LIMIT = 12  # tensors alive at once
LARGE = 8.0  # values beyond are not operated on


# -- what the model knows of operations --------------------------------------------


def both(a, b):
    """What the checkpointed function computes."""
    added = [x + y for x, y in zip(a, b, strict=True)]  # whose rule keeps nothing
    return series.multiply(series.tanh(added), a)


RULES = {**series.RULES, "checkpoint": both, "whole": lambda a: a}

OUTPUT_KEPT = {"tanh", "exp", "divide"}
OPERAND_KEPT = {"sin", "sigmoid", "logsumexp"}


def kept_operands(kind, needs):
    """Which operands the rules of a kind read, given who needs a gradient."""
    if kind == "checkpoint":
        return [True, True]
    if kind in ("multiply", "matmul"):
        return [needs[1], needs[0]]
    if kind == "divide":
        return [False, True]
    return [kind in OPERAND_KEPT] * len(needs)


def keeps_output(kind, needs):
    return kind in OUTPUT_KEPT and (kind != "divide" or needs[1])


def owner_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Node:
    """How a tensor came about: all that its gradient may depend on."""

    def __init__(self, order, shape, kind="leaf", settings=None, operands=()):
        self.order = order
        self.shape = shape
        self.kind = kind
        self.settings = settings or {}
        self.parents = [operand.node for operand in operands]
        self.values = [operand.mirror.copy() for operand in operands]
        self.kept = []  # the memory that the rules read again
        self.memory = [owner_of(operand.mirror) for operand in operands]
        self.hooks = []
        self.freed = False
        self.grad = None

    def keep(self, operands, output):
        """Note what the rules keep, as the operands stand now."""
        needs = [parent is not None for parent in self.parents]
        flags = kept_operands(self.kind, needs)
        self.kept = [
            owner_of(x.mirror) for x, flag in zip(operands, flags, strict=True) if flag
        ]
        if keeps_output(self.kind, needs):
            self.kept.append(owner_of(output))
        self.memory.append(owner_of(output))

    @property
    def factor(self):
        return np.prod([hook.factor for hook in self.hooks])

    def step(self, coefficients, order):
        """The series of this node, given its parents'."""
        if self.kind == "leaf":
            return [np.zeros(self.shape)] * (order + 1)
        operands = [
            [value, *([np.zeros(value.shape)] * order if p is None else known[1:])]
            for value, p in zip(self.values, self.parents, strict=True)
            for known in [coefficients.get(p)]
        ]
        return RULES[self.kind](*operands, **self.settings)


def ancestors(node):
    """The node and all that it was computed from, oldest first."""
    found, waiting = {node}, [node]
    while waiting:
        for parent in waiting.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                waiting.append(parent)
    return sorted(found, key=lambda one: one.order)


def coefficient(path, output, seeds, c, order):
    """<c, output's coefficient of t**order> where each seed moves its node by t."""
    known = {}
    for node in path:
        made = list(node.step(known, order))
        for moved, direction in seeds:
            if moved is node:
                made[1] = made[1] + direction
        known[node] = [made[0], *(k * node.factor for k in made[1:])]
    return float(np.sum(c * known[output][order]))


def units(shape):
    for index in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[index] = 1
        yield index, unit


def right_gradient(output, x, c):
    """The gradient of <c, output> by the node `x`: one forward pass an element."""
    result, path = np.zeros(x.shape), ancestors(output)
    if x in path:
        for index, unit in units(x.shape):
            result[index] = coefficient(path, output, [(x, unit)], c, 1)
    return result


def right_slope(slope, w):
    """How the slope moves with `w`: a mixed second derivative, by polarisation."""
    result, path = np.zeros(w.shape), ancestors(slope.output)
    for index, unit in units(w.shape):
        ends = [
            coefficient(
                path, slope.output, [(slope.x, slope.v), (w, d * unit)], slope.c, 2
            )
            for d in (1, -1)
        ]
        result[index] = (ends[0] - ends[1]) / 2
    return result


class Held:
    """A tensor of the user's, with its mirror and how it came about."""

    def __init__(self, tensor, mirror, node=None):
        self.tensor = tensor
        self.mirror = np.asarray(mirror)
        self.node = node


class Hook:
    """A gradient hook that notes what it is shown and may double it."""

    def __init__(self, factor):
        self.factor = factor
        self.shown = []

    def __call__(self, gradient):
        self.shown.append(gradient.numpy().copy())
        return gradient * 2.0 if self.factor == 2 else None


class Slope:
    """A recorded number <gradient, v>, to be differentiated again some time."""

    def __init__(self, tensor, output, x, c, v):
        self.tensor = tensor
        self.output, self.x, self.c, self.v = output, x, c, v


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def attempt(foreseen, action):
    """Do it: exactly the foreseen error comes, or none."""
    try:
        result = action()
    except (RuntimeError, ValueError, TypeError) as error:
        message = str(error)
        if foreseen is None or foreseen not in message:
            raise AssertionError(f"foreseen {foreseen!r}, raised: {message}") from error
        return None
    assert foreseen is None, f"no error, but {foreseen!r} was foreseen"
    return result


# -- what is drawn -----------------------------------------------------------------

places = st.integers(0, 2) | st.integers(0, 30)  # the newest more often
shapes = st.sampled_from([(), (2,), (2, 2), (1, 2), (3,), (2, 1)])
values = st.integers(-6, 6).map(lambda i: 0.31 * i + 0.13)
UNARY = ("tanh", "sin", "exp", "sigmoid", "negative", "logsumexp")
KEEPERS = ("tanh", "sin", "exp", "sigmoid", "logsumexp", "multiply", "checkpoint")
BINARY = ("multiply", "add", "subtract", "divide", "matmul")
VIEWS = ("reshape", "transpose", "crop", "row", "flip", "broadcast_to", "expand_dims")
PLACES = (..., 0, np.s_[::2], np.s_[:0])
JOINS = ("concatenate", "stack")
OTHERS = ("total", "total", "part", "gather", "checkpoint", "multiply", "multiply")
operations = st.sampled_from((*UNARY, *BINARY, *VIEWS, *JOINS, *OTHERS))
steps = st.lists(st.tuples(operations, places, places), min_size=2, max_size=8)
WRITES = ("assign", "copy_from", "add_in_place", "multiply_in_place", "halve")
WRITES += ("write_raw", "replace_data", "train")


def filled(shape, value):
    """An array whose elements differ."""
    size = int(np.prod(shape, dtype=int))
    return np.array(value + 0.17 * np.arange(size)).reshape(shape)


class Tapes(RuleBasedStateMachine):
    """Everything a user can do to tensors, and what must come of it."""

    def __init__(self):
        super().__init__()
        self.context = sys.exc_info()[1]
        gc.disable()
        gc.freeze()  # what was there before is not looked at again: that takes long
        assert live_entries() == 0
        self.stamps_before = len(writes.stamps)
        self.held = []
        self.slopes = []
        self.hooks = []  # (node, hook, what removes it)
        self.scopes = []  # of no_grad, left after `silent` more steps
        self.silent = 0
        self.clock = itertools.count(1)
        self.written = {}  # id of memory -> (when, that memory)
        self.last_order = 0

    # -- keeping the books -----------------------------------------------------------

    def at(self, place):
        if isinstance(place, Held):
            return place
        return self.held[-1 - place % len(self.held)]

    def target(self, place):
        """What is to be written: seldom a result, which refuses it."""
        if isinstance(place, Held):
            return place
        plain = [x for x in self.held if x.node is None or x.node.kind == "leaf"]
        return plain[place % len(plain)] if plain and place % 8 else self.at(place)

    @property
    def recording(self):
        return not self.scopes

    def hold(self, tensor, mirror, node=None):
        """Take a tensor in, and compare it with what the model expects."""
        mirror = np.asarray(mirror)
        assert tensor.requires_grad == (node is not None)
        assert tensor.shape == mirror.shape
        if node is not None:
            assert tensor.entry.order > self.last_order, "orders must increase"
            self.last_order = tensor.entry.order
        self.held.append(Held(tensor, mirror, node))
        if len(self.held) > LIMIT:
            self.held.pop(LIMIT // 2)

    def leaf_node(self, mirror):
        return Node(next(self.clock), mirror.shape)

    def operate(self, kind, tensors, mirror, operands, settings=None, parts=None):
        """Take in the result of an operation that was done on held tensors."""
        live = self.recording and any(x.node is not None for x in operands)
        results = tensors if parts is not None else [tensors]
        mirrors = parts if parts is not None else [mirror]
        if not live:
            for tensor, part in zip(results, mirrors, strict=True):
                self.hold(tensor, part)
            return
        name = kind if parts is None or kind == "checkpoint" else "whole"
        node = Node(next(self.clock), np.shape(mirror), name, settings, operands)
        node.keep(operands, np.asarray(mirror))
        if parts is None:
            self.hold(tensors, mirror, node)
            return
        whole = Held(None, mirror, node)
        for i, (tensor, part) in enumerate(zip(results, mirrors, strict=True)):
            index = {"index": ...} if kind == "checkpoint" else {"index": i}
            item = Node(next(self.clock), np.shape(part), "crop", index, [whole])
            item.memory.append(owner_of(np.asarray(part)))
            item.item = True
            self.hold(tensor, part, item)

    def stamp(self, mirror):
        memory = owner_of(mirror)
        self.written[id(memory)] = (next(self.clock), memory)

    def is_stale(self, node, memory):
        return any(self.written.get(id(one), (0,))[0] > node.order for one in memory)

    def walk(self, output, oldest=0, retain=False):
        """What a walk meets, newest first: (foreseen error, the nodes it reached)."""
        reached = []
        for node in reversed(ancestors(output)):
            if node.order < oldest:
                break
            reached.append(node)
            if node.kind == "leaf":
                continue
            if hasattr(node, "item"):
                if node.parents[0].freed:
                    return FREED, reached
                continue
            if node.freed:
                return FREED, reached
            if self.is_stale(node, node.kept):
                return STALE, reached
            if not retain:
                node.freed = True
        return None, reached

    def check_hooks(self, output, c, reached):
        """Each hook saw the complete gradient, once."""
        for node, hook, _ in self.hooks:
            count = int(node in reached and hook in node.hooks)
            assert len(hook.shown) == count, "a hook is called once a walk"
            if count and node.factor:
                earlier = node.hooks[: node.hooks.index(hook)]
                scale = np.prod([one.factor for one in earlier]) / node.factor
                close(hook.shown[0], right_gradient(output, node, c) * scale)
            hook.shown.clear()

    # -- creating --------------------------------------------------------------------

    @initialize(value=values, steps=steps)
    def begin(self, value, steps):
        self.create((2,), value, True)
        self.create((2,), value + 0.2, False)
        self.create((2,), value - 0.4, True)
        self.compute(steps)

    @rule(shape=shapes, value=values, wanted=st.booleans())
    def create(self, shape, value, wanted):
        mirror = filled(shape, value)
        tensor = mg.Tensor(mirror, requires_grad=wanted)
        self.hold(tensor, mirror, self.leaf_node(mirror) if wanted else None)

    @rule(place=places, how=st.sampled_from(["detach", "asarray", "Tensor"]))
    def derive(self, place, how):
        x = self.at(place)
        if how == "Tensor":
            self.hold(mg.Tensor(x.tensor), x.mirror.copy())
        elif how == "detach":
            self.hold(x.tensor.detach(), x.mirror)
        else:
            self.hold(mg.asarray(x.tensor.data), x.mirror)

    # -- operating -------------------------------------------------------------------

    @rule(steps=steps)
    def compute(self, steps):
        for kind, a, b in steps:
            if kind in UNARY:
                self.unary(a, kind)
            elif kind in BINARY:
                self.binary(a, b, kind)
            elif kind in VIEWS:
                self.view(a, kind)
            elif kind in JOINS:
                self.join(a, b, kind)
            else:
                getattr(self, kind)(a, b)

    def unary(self, place, kind):
        x = self.at(place)
        if x.mirror.size == 0 or np.abs(x.mirror).max() > 2:
            return
        settings = {"axis": None, "keepdims": False} if kind == "logsumexp" else {}
        made = RULES[kind]([x.mirror], **settings)[0]
        result = getattr(mg, kind)(x.tensor, **settings)
        self.operate(kind, result, np.array(made), [x], settings)

    def binary(self, a, b, kind):
        x, y = self.at(a), self.at(b)
        if kind == "divide" and np.abs(y.mirror).min(initial=1) < 0.2:
            return
        if kind == "matmul" and not (x.mirror.ndim and y.mirror.ndim):
            return
        try:
            made = RULES[kind]([x.mirror], [y.mirror])[0]
        except ValueError:
            return attempt(" failed: ", lambda: getattr(mg, kind)(x.tensor, y.tensor))
        if np.abs(made).max(initial=0) < LARGE:
            result = getattr(mg, kind)(x.tensor, y.tensor)
            self.operate(kind, result, np.array(made), [x, y])
        return None

    def total(self, place, form):
        x = self.at(place)
        axis = (None, 0, -1)[form % 3] if x.mirror.ndim else None
        settings = {"axis": axis, "keepdims": form % 2 == 1}
        made = np.array(x.mirror.sum(**settings))
        if np.abs(made).max(initial=0) < LARGE:
            self.operate("sum", x.tensor.sum(**settings), made, [x], settings)

    def view(self, place, kind):
        x = self.at(place)
        if x.mirror.size > 12 or x.mirror.ndim > 3:
            return
        settings = {
            "reshape": {"shape": (x.mirror.size, 1)},
            "transpose": {"axes": None},
            "crop": {"index": (..., np.s_[1:]) if x.mirror.ndim else (None,)},
            "row": {"index": (0,) if len(x.mirror.shape) and len(x.mirror) else ...},
            "flip": {"axis": None},
            "broadcast_to": {"shape": (2, *x.mirror.shape)},
            "expand_dims": {"axis": 0},
        }[kind]
        if kind in ("crop", "row"):
            key = settings["index"]
            made, result = x.mirror[key], x.tensor[key]
            kind = "crop"
        else:
            made = getattr(np, kind)(x.mirror, **settings)
            result = getattr(mg, kind)(x.tensor, **settings)
        self.operate(kind, result, made, [x], settings)

    def join(self, a, b, kind):
        x, y = self.at(a), self.at(b)
        if x.mirror.shape == y.mirror.shape and 0 < x.mirror.ndim < 3:
            made = getattr(np, kind)([x.mirror, y.mirror], axis=0)
            if made.size <= 8:
                result = getattr(mg, kind)([x.tensor, y.tensor], axis=0)
                self.operate(kind, result, made, [x, y], {"axis": 0})

    def part(self, place, _):
        x = self.at(place)
        if x.mirror.ndim and 0 < len(x.mirror) <= 3:
            parts = list(x.mirror)
            self.operate("unstack", mg.unstack(x.tensor), x.mirror, [x], {}, parts)

    def gather(self, place, form):
        x, ids = self.at(place), ([0, -1, 0], [0], [-1, -1])[form % 3]
        if x.mirror.ndim and len(x.mirror) and x.mirror.size <= 4:
            made = x.mirror[ids]
            self.operate("gather", x.tensor[ids], made, [x], {"index": ids})

    def checkpoint(self, a, b):
        x, y = self.at(a), self.at(b)
        if x.mirror.shape != y.mirror.shape:
            return
        made = np.array(both([x.mirror], [y.mirror])[0])
        stretch = mg.checkpoint(lambda a, b: mg.tanh(a + b) * a)
        result = stretch(x.tensor, y.tensor)
        self.operate("checkpoint", [result], made, [x, y], {}, [made])

    @rule(steps=steps, start=st.booleans(), retain=st.integers(0, 3), value=values)
    def compute_and_walk(self, steps, start, retain, value):
        self.compute(steps)
        self.backward(0, start, retain > 0, value)

    # -- writing ---------------------------------------------------------------------

    @rule(how=st.sampled_from(WRITES), a=places, b=places, value=values)
    def write(self, how, a, b, value):
        getattr(self, how)(a, b, value)

    @rule(
        how=st.sampled_from(WRITES),
        steps=steps | st.just([]),
        a=places,
        b=places,
        fits=places,
        value=values,
    )
    def write_what_was_read_and_walk(self, how, steps, a, b, fits, value):
        """Write into memory that a result was computed from, then differentiate it."""
        self.compute(steps)
        x = self.at(a)
        if x.node is None:
            return
        read = {id(one) for node in ancestors(x.node) for one in node.memory}
        shared = [y for y in self.held if id(owner_of(y.mirror)) in read]
        if shared:
            self.derive(shared[-1 - fits % len(shared)], "detach")
            getattr(self, how)(self.held[-1], b, value)
        self.backward(x, True, fits % 3 > 0, value)

    @rule(
        kind=st.sampled_from(KEEPERS),
        a=places,
        b=places,
        output=st.booleans(),
        value=values,
    )
    def write_at_once_and_walk(self, kind, a, b, output, value):
        """Write into what the newest entry of all has kept: the next order number."""
        x = self.at(a)
        self.compute([(kind, b, x) if kind == "checkpoint" else (kind, x, b)])
        y = self.at(0)
        if y.node is not None:
            self.derive(y if output else x, "detach")
            self.assign(self.at(0), 0, value)
            self.backward(y, True, True, value)

    def foresee_write(self, target, source=None):
        if target.node is not None and target.node.kind != "leaf":
            return RESULT
        if self.recording and target.node is not None:
            return LEAF
        if self.recording and source is not None and source.node is not None:
            return CARRIES
        return None if target.mirror.flags.writeable else READ_ONLY

    def assign(self, place, where, value):
        x = self.target(place)
        key = PLACES[where % len(PLACES)] if x.mirror.ndim and len(x.mirror) else ...
        foreseen = self.foresee_write(x)
        attempt(foreseen, lambda: x.tensor.__setitem__(key, value))
        if foreseen is None:
            x.mirror[key] = value
            self.stamp(x.mirror)

    def copy_from(self, a, b, _):
        x, y = self.target(a), self.at(b)
        if x.mirror.shape != y.mirror.shape:
            return
        foreseen = self.foresee_write(x, y)
        attempt(foreseen, lambda: x.tensor.copy_(y.tensor))
        if foreseen is None:
            x.mirror[...] = y.mirror
            self.stamp(x.mirror)

    def add_in_place(self, a, b, _):
        self.in_place(self.target(a), self.at(b), "add")

    def multiply_in_place(self, a, b, _):
        self.in_place(self.target(a), self.at(b), "multiply")

    def halve(self, place, *_):
        self.in_place(self.target(place), Held(0.5, np.array(0.5)), "multiply")

    def in_place(self, x, y, kind):
        method = {"add": "__iadd__", "multiply": "__imul__"}[kind]
        made = None
        if x.mirror.shape == y.mirror.shape or not y.mirror.ndim:
            made = np.array(RULES[kind]([x.mirror], [y.mirror])[0])
        if made is None or np.abs(made).max(initial=0) > LARGE:
            return
        leaf = x.node is not None and x.node.kind == "leaf"
        moves = y.node is not None or x.node is not None
        if self.recording and not leaf and moves:
            result = getattr(x.tensor, method)(y.tensor)
            self.operate(kind, result, made, [x, y])
            return
        foreseen = self.foresee_write(x)
        attempt(foreseen, lambda: getattr(x.tensor, method)(y.tensor))
        if foreseen is None:
            x.mirror[...] = made
            self.stamp(x.mirror)

    def write_raw(self, place, _, value):
        """What a user does to the array himself, and says so."""
        x = self.target(place)
        if x.mirror.flags.writeable:
            x.tensor.data[...] = value
            mg.record_write(x.tensor.data, "my own kernel")
            x.mirror[...] = value
            self.stamp(x.mirror)

    def replace_data(self, a, b, _):
        x, y = self.target(a), self.at(b)
        if x.mirror.shape != y.mirror.shape:
            return
        foreseen = RESULT if x.node is not None and x.node.kind != "leaf" else None

        def replace():
            x.tensor.data = y.tensor

        attempt(foreseen, replace)
        if foreseen is None:
            x.mirror = y.mirror

    def train(self, place, *_):
        """A step as an optimiser makes it."""
        x = self.target(place)
        leaf = x.node is not None and x.node.kind == "leaf"
        if not leaf or x.node.grad is None or not x.mirror.flags.writeable:
            return
        made = x.mirror - 0.1 * x.node.grad
        if np.abs(made).max(initial=0) < LARGE:
            with mg.no_grad():
                same = x.tensor
                same -= x.tensor.grad * 0.1
            assert same is x.tensor
            x.mirror[...] = made
            self.stamp(x.mirror)

    # -- modes and flags -------------------------------------------------------------

    @rule(steps=st.integers(1, 3))
    def enter_no_grad(self, steps):
        scope = mg.no_grad()
        scope.__enter__()
        self.scopes.append(scope)
        self.silent = steps

    @invariant()
    def no_grad_ends_soon(self):
        if self.scopes and self.silent == 0:
            self.leave_no_grad()
        self.silent -= 1

    def leave_no_grad(self):
        while self.scopes:
            self.scopes.pop().__exit__(None, None, None)

    @rule(place=places, wanted=st.booleans())
    def set_requires_grad(self, place, wanted):
        x = self.at(place)
        foreseen = FOLLOWS if x.node is not None and x.node.kind != "leaf" else None

        def change():
            x.tensor.requires_grad = wanted

        attempt(foreseen, change)
        if foreseen is None and wanted and x.node is None:
            x.node = self.leaf_node(x.mirror)
            self.last_order = x.tensor.entry.order
        elif foreseen is None and not wanted:
            x.node = None

    @rule(place=places)
    def zero_grad(self, place):
        x = self.at(place)
        x.tensor.zero_grad()
        if x.node is not None:
            x.node.grad = None

    @rule(place=places)
    def scale_grad(self, place):
        """A gradient is the leaf's own: nobody else's changes with it."""
        x = self.at(place)
        if x.node is not None and x.node.grad is not None:
            with mg.no_grad():
                gradient = x.tensor.grad
                gradient *= 0.5
            x.node.grad = x.node.grad * 0.5

    @rule(place=places, factor=st.sampled_from([1, 2]))
    def register_hook(self, place, factor):
        x, hook = self.at(place), Hook(factor)
        foreseen = None if x.node is not None else NOT_REQUIRED
        remove = attempt(foreseen, lambda: x.tensor.register_hook(hook))
        if foreseen is None:
            x.node.hooks.append(hook)
            self.hooks.append((x.node, hook, remove))
            self.slopes.clear()  # the model knows no second order with hooks

    @precondition(lambda self: self.hooks)
    @rule(place=places)
    def remove_hook(self, place):
        node, hook, remove = self.hooks.pop(place % len(self.hooks))
        remove()
        node.hooks.remove(hook)

    # -- walking back ----------------------------------------------------------------

    @rule(place=places, start=st.booleans(), retain=st.booleans(), value=values)
    def backward(self, place, start, retain, value):
        x = self.at(place)
        if x.node is None:
            attempt(NOT_RECORDED, x.tensor.backward)
            return
        if not start and x.mirror.size != 1:
            attempt(NEEDS_START, x.tensor.backward)
            return
        c = filled(x.mirror.shape, value) if start else np.ones(x.mirror.shape)
        foreseen, reached = self.walk(x.node, retain=retain)
        given = mg.Tensor(c) if start else None
        attempt(foreseen, lambda: x.tensor.backward(given, retain_graph=retain))
        if given is not None:
            given += 100  # the start is the user's: no gradient may change with it
        for node in reached:
            if node.kind == "leaf":
                gradient = right_gradient(x.node, node, c)
                node.grad = gradient if node.grad is None else node.grad + gradient
        self.check_hooks(x.node, c, reached)

    @rule(a=places, b=places, retain=st.booleans(), value=values)
    def grad(self, a, b, retain, value):
        output, x = self.at(a), self.at(b)
        c = filled(output.mirror.shape, value)

        def ask():
            return mg.grad(output.tensor, x.tensor, c, retain_graph=retain)

        if x.node is None:
            attempt(NOT_REQUIRED, ask)
            return
        if output.node is None:
            close(ask().numpy(), np.zeros(x.mirror.shape))
            return
        foreseen, reached = self.walk(output.node, x.node.order, retain)
        found = attempt(foreseen, ask)
        if foreseen is None:
            close(found.numpy(), right_gradient(output.node, x.node, c))
        self.check_hooks(output.node, c, reached)

    @rule(a=places, b=places, value=values)
    def hook_and_grad(self, a, b, value):
        """What grad finds is what the hooks made of it."""
        x = self.at(b)
        self.register_hook(x, 2)
        self.grad(a, x, True, value)

    @rule(a=places, b=places, value=values)
    def recorded_grad(self, a, b, value):
        output, x = self.at(a), self.at(b)
        if output.node is None or x.node is None:
            return
        c, v = filled(output.mirror.shape, value), filled(x.mirror.shape, 0.7)
        foreseen, reached = self.walk(output.node, x.node.order, retain=True)
        found = attempt(
            foreseen, lambda: mg.grad(output.tensor, x.tensor, c, create_graph=True)
        )
        self.check_hooks(output.node, c, reached)
        if foreseen is not None:
            return
        close(found.numpy(), right_gradient(output.node, x.node, c))
        hooked = any(node.hooks for node in ancestors(output.node))
        if found.requires_grad and self.recording and not hooked:
            tensor = (found * mg.Tensor(v)).sum()
            self.slopes.append(Slope(tensor, output.node, x.node, c, v))
            del self.slopes[:-3]

    @precondition(lambda self: self.slopes)
    @rule(a=places, b=places)
    def grad_of_grad(self, a, b):
        slope, w = self.slopes[a % len(self.slopes)], self.at(b)
        if w.node is None:
            return
        if w.node is not slope.x and w.node.parents and slope.x in ancestors(w.node):
            return  # between x and output: moved alone, it is no function of x
        path = ancestors(slope.output)
        excused = any(node.freed or self.is_stale(node, node.memory) for node in path)
        try:
            found = mg.grad(slope.tensor, w.tensor, retain_graph=True)
        except RuntimeError as error:
            message = str(error)
            if not (excused and (FREED in message or STALE in message)):
                raise
            return
        close(found.numpy(), right_slope(slope, w.node))

    # -- forgetting ------------------------------------------------------------------

    @precondition(lambda self: len(self.held) > 2)
    @rule(place=places)
    def delete(self, place):
        self.held.pop(place % len(self.held))

    @rule()
    def delete_all_but_one(self):
        """Nothing stays alive but what the last tensor still needs."""
        del self.held[:-1]
        self.slopes.clear()
        self.hooks = [one for one in self.hooks if one[0] is self.held[-1].node]
        wanted = self.needed(self.held[-1].node)
        assert live_entries() == len(wanted), "entries that nothing needs are alive"

    def needed(self, node):
        found, waiting = set(), [node]
        while waiting:
            one = waiting.pop()
            if one is not None and one not in found:
                found.add(one)
                waiting += [] if one.freed else one.parents
        return found

    # -- what always holds -----------------------------------------------------------

    @invariant()
    def values_are_the_mirrors(self):
        for x in self.held:
            close(x.tensor.numpy(), x.mirror)

    @invariant()
    def gradients_are_what_was_added_up(self):
        for x in self.held:
            expected = None if x.node is None else x.node.grad
            found = x.tensor.grad
            assert (found is None) == (expected is None)
            if expected is not None:
                close(found.numpy(), expected)
                assert found.dtype == x.tensor.dtype

    def teardown(self):
        self.leave_no_grad()
        self.held.clear()
        self.slopes.clear()
        self.hooks.clear()
        self.written.clear()
        failed = sys.exc_info()[1] is not self.context  # a traceback holds tensors
        try:
            assert failed or live_entries() == 0, "an entry outlives its tensors"
            assert failed or len(writes.stamps) == self.stamps_before
        finally:
            gc.unfreeze()
            gc.enable()


TestTapes = Tapes.TestCase
# Sequences are cheap here, and some mistakes need a rare one.
TestTapes.settings = settings(
    TestTapes.settings, max_examples=4 * settings.default.max_examples
)
