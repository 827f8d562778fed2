"""Recording: whether calls are recorded, who observes them, and scopes of both."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.tape.entry import Entry
from minigrad.tape.primitives import Call


class Observer:
    """Somebody who is shown what happens in a scope: override what you need."""

    on_arrays = False  # calls on arrays are shown too: rules make them
    on_tensors = False  # backward passes run on Tensors, so that all of it is calls
    writes_to_copies = False  # primitives write into copies, so that nothing changes
    every_gradient = False  # backward passes take no shortcuts: each gradient is shown
    checks_ids = False  # ids on a GPU are checked too, which must wait for them

    def given(self, operands: Sequence[Any]) -> None:
        """A primitive is about to run on these operands, Tensors among them."""

    def met(self, tensor: Any) -> None:
        """The array of a Tensor is about to be used."""

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        """A primitive has run; `entry` is what was recorded of it, if anything was."""

    def differentiated(
        self, entry: Entry, g: Any, handed: list[tuple[Entry, Any]], seconds: float
    ) -> None:
        """An entry's rules have run; `handed` holds its parents with their part."""

    def read(self, tensor: Any) -> None:
        """The values of a Tensor leave the tape: somebody looks at them."""

    def constant(self, array: Any) -> None:
        """An array was made of Python's numbers and lists."""

    def tensor_made(self, tensor: Any) -> None:
        """A Tensor was made around an array, perhaps one that no call has given."""

    def wrote(self, array: Any, operation: str) -> None:
        """An array was changed in place, by a primitive or by hand."""

    def depends(self, get: Callable[[], Any], value: Any) -> None:
        """What is computed next depends on a mode or setting, which `get` reads."""

    def checked(self, array: Any, check: Callable[[Any], None]) -> None:
        """The values of an array were looked at by `check`, which may raise."""

    def grad_read(self, leaf: Entry) -> None:
        """Somebody asks for a leaf's gradient."""

    def grad_assigned(self, leaf: Entry, before: Any) -> None:
        """A leaf's gradient was replaced or forgotten; `before` is what it was."""

    def grad_added(self, leaf: Entry, known: Any) -> None:
        """A backward pass has added to a leaf's gradient, `known` or None before."""

    def hooked(self, entry: Entry) -> None:
        """A hook is about to be shown the gradient of an entry."""

    def line(self) -> str:
        """The user's line now, for an observer that knows it."""
        return ""


class Recording(threading.local):
    """Whether this thread records, and who observes; `plain` is the one hot flag."""

    def __init__(self) -> None:
        self.set(True, ())

    def set(self, enabled: bool, observers: tuple[Observer, ...]) -> None:
        """Change both facts and the flag that follows from them."""
        self.enabled = enabled
        self.observers = observers
        self.plain = enabled and not observers
        self.on_arrays = bool(observers) and any(o.on_arrays for o in observers)
        self.dry = bool(observers) and any(o.writes_to_copies for o in observers)
        self.on_tensors = bool(observers) and any(o.on_tensors for o in observers)


recording = Recording()


def tell(what: str, *facts: Any) -> None:
    """Call the method `what` of every observer."""
    for observer in recording.observers:
        getattr(observer, what)(*facts)


def depend_on(get: Callable[[], Any]) -> Any:
    """What `get` reads: a mode or setting on which Python code branches."""
    value = get()
    tell("depends", get, value)
    return value


def check_values(array: Any, check: Callable[[Any], None]) -> None:
    """Let `check` look at the values of an array, now and when the call is replayed."""
    check(array)
    tell("checked", array, check)


State = tuple[bool, tuple[Observer, ...]]


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

    def __init__(
        self, enabled: bool | None = None, observer: Observer | None = None
    ) -> None:
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
