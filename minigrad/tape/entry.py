"""What is an entry of the tape, a Tensor, and when is something recorded?"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import backend
from minigrad.backend import ARRAY_TYPES, Array

if TYPE_CHECKING:
    from minigrad.tape.walk import Walk

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


# -- recording ---------------------------------------------------------------------


class Recording(threading.local):
    """Whether this thread records, and who watches; `plain` is the one hot flag."""

    def __init__(self) -> None:
        self.set(True, ())

    def set(self, enabled: bool, observers: tuple[Any, ...]) -> None:
        """Change both facts and the flag that follows from them."""
        self.enabled = enabled
        self.observers = observers
        self.plain = enabled and not observers


recording = Recording()
State = tuple[bool, tuple[Any, ...]]


class Door(functools.partial):
    """What a `with` holds to leave a scope by; let go of uncalled, it calls itself.

    Ctrl-C may come just when `__exit__` begins, before its first step: nobody else
    would restore what was before, and nothing would be recorded any more.
    """

    def __del__(self) -> None:
        self()


class Leave:
    """The `__exit__` of a scope: a `with` asks for it before it enters."""

    def __get__(self, scope: Scope | None, owner: type) -> Callable[..., None]:
        if scope is None:  # an ExitStack asks the class, and passes the scope itself
            return lambda scope, *_: _leave(scope, [scope.entered[-1]])
        return Door(_leave, scope, [(recording.enabled, recording.observers)])


def _leave(scope: Scope, held: list[State], *_: object) -> None:
    """Restore what was before the scope was entered, unless that has been done."""
    if held:
        recording.set(*(scope.entered or held)[-1])
        held.clear()
        del scope.entered[-1:]


class Scope:
    """A context (and decorator) that changes recording and always restores it."""

    def __init__(self, enabled: bool | None = None, observer: Any = None) -> None:
        self.enabled = enabled
        self.observer = observer
        self.entered: list[State] = []  # what was before, for each time it was entered

    def __enter__(self) -> Any:
        enabled, observers = recording.enabled, recording.observers
        self.entered.append((enabled, observers))
        if self.observer is not None:
            observers = (*observers, self.observer)
        recording.set(enabled if self.enabled is None else self.enabled, observers)
        return self.observer

    __exit__ = Leave()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Run a function in this scope each time it is called.

        Raises:
            TypeError: for what runs its body later, outside: a generator function or an
                async one; for a class, or what cannot be called.
        """
        _check_decorated(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with Scope(self.enabled, self.observer):
                return function(*args, **kwargs)

        return wrapped


def _check_decorated(function: Any) -> None:
    name = getattr(function, "__name__", repr(function))
    later = {
        "a generator function": inspect.isgeneratorfunction,
        "an async function": inspect.iscoroutinefunction,
        "an async generator function": inspect.isasyncgenfunction,
    }
    for what, is_it in later.items():
        if is_it(function):
            raise TypeError(
                f"{name} is {what}: its body runs after this decorator has ended. Use "
                "the scope as a `with` inside its body."
            )
    if isinstance(function, type) or not callable(function):
        raise TypeError(
            f"{name} is no function, so it cannot be run in a scope. Decorate a "
            "function or a method, or write `with mg.no_grad():` around its use."
        )


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Stop recording, inside a ``with`` or, as a decorator, inside a function.

    ``@mg.no_grad`` and ``@mg.no_grad()`` are the same.
    """
    scope = Scope(enabled=False)
    return scope if function is None else scope(function)


# -- entries -----------------------------------------------------------------------


class Entry:
    """One line of the tape.

    `parents` are the operands' entries (None for an operand without gradient);
    `operands` and `output` hold only the arrays that the rules name, so that what no
    rule needs is freed at once.  Edges lead to older entries alone: no cycles.
    """

    __slots__ = (
        "dtype",
        "notes",  # None, or a dict with "hooks" and "line": rare, so one slot
        "operands",
        "order",  # creation number: newest first is a reverse topological order
        "output",
        "parents",
        "primitive",
        "settings",
        "shape",
    )

    def __init__(
        self,
        primitive: Any,
        parents: Any,
        operands: Any,
        output: Any,
        settings: dict[str, Any],
        shape: Any,
        dtype: Any,
    ) -> None:
        self.order = next_order()
        self.primitive = primitive
        self.parents = parents
        self.operands = operands
        self.output = output
        self.settings = settings
        self.shape = shape
        self.dtype = dtype
        self.notes: dict[str, Any] | None = None

    def note(self, key: str, value: Any) -> None:
        """Attach something rare (a hook, the user's line) to this entry."""
        if self.notes is None:
            self.notes = {}
        self.notes[key] = value

    def propagate(self, gradient: Any, owned: bool, walk: Walk) -> None:
        """What an entry without a primitive, and so without rules, does."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of arrays and parents: this stretch has been walked."""
        self.parents = self.operands = self.output = None

    @property
    def name(self) -> str:
        """The operation's name, as messages and pictures show it."""
        return self.primitive.name


class Leaf(Entry):
    """The start of a path: a Tensor made with ``requires_grad=True``."""

    __slots__ = ("grad",)

    name = "leaf"

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        super().__init__(None, (), (), None, {}, shape, dtype)
        self.grad: Tensor | None = None

    def propagate(self, gradient: Any, owned: bool, walk: Walk) -> None:
        """Keep the gradient (``backward``); ``grad`` collects its own instead."""
        if not walk.into_leaves:
            return
        if self.grad is None and not owned:
            gradient = gradient.copy()
        while True:
            known = self.grad
            total = wrap(gradient if known is None else known.array + gradient)
            if self._replace(known, total):
                return

    def _replace(self, known: Tensor | None, total: Tensor) -> bool:
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

    def __init__(self, whole: Entry, index: int, array: Array) -> None:
        super().__init__(None, (whole,), (), None, {}, array.shape, array.dtype)
        self.index = index

    def propagate(self, gradient: Any, owned: bool, walk: Walk) -> None:
        """Fill this item's place in the whole's gradient, which is handed on once."""
        walk.fill(self.parents[0], self.index, gradient)


# -- tensors -----------------------------------------------------------------------


class Tensor:
    """An array and, where gradients are wanted, the entry that made it.

    `Tensor(data)` copies; `minigrad.asarray` shares.  Python numbers and lists become
    float32, arrays keep their dtype.  Operators and methods are attached in
    `minigrad/tensor.py`.

    Raises:
        TypeError: data is not numeric, or an integer tensor is to require gradients.
    """

    __slots__ = ("__weakref__", "array", "entry")
    __array_ufunc__ = None  # NumPy steps back: array * tensor is tensor.__rmul__
    __array_priority__ = 1000  # for arrays that ask this instead

    array: Array
    entry: Entry | None

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        requires_grad: bool = False,
        device: str | None = None,
    ) -> None:
        source = data.array if isinstance(data, Tensor) else data
        array = backend.as_array(source, dtype)
        array = backend.to_device(array, device) if device else array
        # Arrays without elements share no memory, but may be one array.
        shared = array is source or (
            type(array) is type(source) and np.may_share_memory(array, source)
        )
        self.array = array.copy() if shared else array
        self.entry = None
        if requires_grad:
            self.entry = new_leaf(self.array)


def new_leaf(array: Array) -> Leaf:
    """A leaf for `array`.

    Raises:
        TypeError: integers, booleans and complex numbers have no gradients.
    """
    check_differentiable(array)
    return Leaf(array.shape, array.dtype)


def check_differentiable(array: Array) -> None:
    """Refuse what has no gradients: integers, booleans and complex numbers."""
    if array.dtype.kind != "f":
        raise TypeError(
            f"a tensor of dtype {array.dtype} cannot require gradients: only real "
            "numbers have them. Make it of floats, for example with "
            "x.astype('float32'), or leave requires_grad=False."
        )


def wrap(array: Any, entry: Entry | None = None) -> Any:
    """A Tensor around `array`, without a copy."""
    tensor = Tensor.__new__(Tensor)
    tensor.array = array if array.__class__ in ARRAY_TYPES else as_result(array)
    tensor.entry = entry
    return tensor


def as_result(value: Any) -> Array:
    """0-d results are arrays, not NumPy scalars (whose class is no array type)."""
    return value if backend.is_array(value) else np.asarray(value)
