"""Entries: the nodes of the graph, from each to the older ones it came from."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any

next_order = itertools.count(1).__next__


class Steps:
    """A lock that makes a few short steps one; a child of a fork gets a new one."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Forget a lock whose holder, another thread, is not in the child."""
        self.lock = threading.RLock()  # a signal's handler may come back for it


steps = Steps()


class Entry:
    """One node of the graph: a call, as far as the backward pass needs it.

    `parents` are the operands' entries (None for an operand without gradient);
    `operands` and `results` hold only those arrays of the call that the rules name, so
    that what no rule needs is freed at once.  Edges lead to older entries alone: no
    cycles.
    """

    __slots__ = (
        "dtype",
        "notes",  # None, or a dict with "hooks" and "line": rare, so one slot
        "operands",
        "order",  # creation number: newest first is a reverse topological order
        "parents",
        "primitive",
        "results",
        "settings",
        "shape",
    )

    def __init__(
        self,
        primitive: Any,
        parents: Any,
        operands: Any,
        results: Any,
        settings: dict[str, Any],
        shape: Any,
        dtype: Any,
    ) -> None:
        self.order = next_order()
        self.primitive = primitive
        self.parents = parents
        self.operands = operands
        self.results = results
        self.settings = settings
        self.shape = shape
        self.dtype = dtype
        self.notes: dict[str, Any] | None = None

    def note(self, key: str, value: Any) -> None:
        """Attach something rare (a hook, the user's line) to this entry."""
        if self.notes is None:
            self.notes = {}
        self.notes[key] = value

    def propagate(self, gradient: Any, owned: bool, backward_pass: Any) -> None:
        """What an entry without a primitive, and so without rules, does."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of arrays and parents: the backward pass has used them."""
        self.parents = self.operands = self.results = None

    @property
    def name(self) -> str:
        """The operation's name, as messages and pictures show it."""
        return self.primitive.name


class Leaf(Entry):
    """The start of a path: a Tensor made with ``requires_grad=True``."""

    __slots__ = ("grad",)

    name = "leaf"

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__(None, (), (), (), {}, shape, dtype)
        self.grad: Any = None  # a Tensor

    def propagate(self, gradient: Any, owned: bool, backward_pass: Any) -> None:
        """Keep the gradient (``backward``); ``grad`` collects its own instead."""
        if backward_pass.into_leaves:
            backward_pass.add_to_grad(self, gradient, owned)

    def replace_grad(self, known: Any, total: Any) -> bool:
        """Put `total` in the place of `known`, unless something else is there by now.

        Another thread may have added to the gradient meanwhile, or a signal's handler.
        No lock is held over the sum: a fork would take it along, held for ever, and a
        handler wait for the one that it interrupts.
        """
        with steps.lock:
            if self.grad is not known:
                return False
            self.grad = total
        return True


class Item(Entry):
    """One output of an entry with several (split, unstack): a part of one whole."""

    __slots__ = ("index",)

    name = "item"

    def __init__(self, whole: Entry, index: int, array: Any) -> None:
        super().__init__(None, (whole,), (), (), {}, array.shape, array.dtype)
        self.index = index

    def propagate(self, gradient: Any, owned: bool, backward_pass: Any) -> None:
        """Fill this item's place in the whole's gradient, which is handed on once."""
        backward_pass.fill(self.parents[0], self.index, gradient)
