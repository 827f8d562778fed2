"""Compiled steps: functions that are recorded once and then replayed."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from minigrad.compiler.buffers import Memory
from minigrad.compiler.capture import HELD_GRADIENT, Capture, CompileError
from minigrad.compiler.passes import optimize
from minigrad.compiler.program import Value
from minigrad.compiler.replay import Replay
from minigrad.compiler.report import Explanation, Listing
from minigrad.compiler.surroundings import guards_of
from minigrad.compiler.trees import arrays_in, leaves_of, map_arrays, signature
from minigrad.random import seeds_held
from minigrad.tape import Entry, Scope, TensorBase, array_of, recording, wrap

MOST_RECORDINGS = 32
SEEDED = (
    "a generator is made or seeded inside of a compiled step, which happens in the "
    "first call alone. Make it outside, and seed it between calls."
)


class Compiled:
    """A function whose calls on arrays of the same layout replay one recording.

    What it reads from outside (parameters, learning rates, states of generators and
    optimisers) is looked up again in every call. Python values are a part of the
    recording: other arguments make another one, and so do other modes of a module.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.recordings: list[Recording] = []  # the one that ran last at the end
        self._lock = threading.RLock()
        self._memory = Memory()

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else Bound(self, owner)

    def __reduce__(self) -> tuple[Any, ...]:
        """What copy.deepcopy and pickle call: a copy has recorded nothing yet."""
        return Compiled, (self.function,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the recording that fits, or record the call."""
        if recording.observers:  # somebody looks at single calls, another step perhaps
            return self.function(*args, **kwargs)
        return self._run(args, kwargs)

    def measure(self, *args: Any, **kwargs: Any) -> Any:
        """Call the step and note the time of each instruction, for `program()`."""
        return self._run(args, kwargs, measured=True)

    def _run(self, args: Any, kwargs: Any, measured: bool = False) -> Any:
        given = (args, kwargs)
        arrays = [array_of(x) for x in arrays_in(given)]
        key = (recording.enabled, _sharing(arrays), signature(given))
        with self._lock:
            known = self._known(key, arrays) or self._record(key, arrays, given)
            return known.run(arrays, measured)

    def _known(self, key: Hashable, arrays: Sequence[Any]) -> Recording | None:
        """The recording that fits; it moves to the end."""
        for i in reversed(range(len(self.recordings))):
            known = self.recordings[i]
            if known.key == key and known.holds(arrays):
                self.recordings.append(self.recordings.pop(i))
                return known
        return None

    def _record(self, key: Hashable, arrays: Sequence[Any], given: Any) -> Recording:
        args, kwargs = map_arrays(given, _as_tensor)
        capture = Capture(arrays_in((args, kwargs)))
        capture.guards += guards_of(self.function)
        try:
            with Scope(observer=capture), seeds_held(SEEDED):
                results = self.function(*args, **kwargs)
            if capture.refused is not None:
                raise capture.refused
            known = Recording(key, capture, results, arrays, self._memory)
        finally:
            capture.restore_gradients()
        self.recordings.append(known)
        if len(self.recordings) > MOST_RECORDINGS:
            del self.recordings[0]
            warnings.warn(
                f"{self._name} was recorded for more than {MOST_RECORDINGS} kinds of "
                "arguments or modes, and the oldest recording was dropped. Pad "
                "sequences to a few lengths, and pass numbers that change as arrays.",
                stacklevel=4,
            )
        return known

    def program(self) -> Listing:
        """The instructions that were run last, to be printed.

        Raises:
            RuntimeError: nothing was recorded yet.
        """
        return Listing(self._last().replay)

    def explain(self) -> Explanation:
        """What each pass has changed in the program that was run last.

        Raises:
            RuntimeError: nothing was recorded yet.
        """
        last = self._last()
        return Explanation(last.changes, last.replay)

    def _last(self) -> Recording:
        if not self.recordings:
            raise RuntimeError(f"{self._name} was not recorded yet. Call it first.")
        return self.recordings[-1]

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))

    def __repr__(self) -> str:
        return f"<compiled {self._name}, {len(self.recordings)} recordings>"


class Bound(functools.partial):
    """A compiled method of one object."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def measure(self, *args: Any, **kwargs: Any) -> Any:
        """As `Compiled.measure`."""
        return self.func.measure(*self.args, *args, **kwargs)  # type: ignore[attr-defined]


def compile(function: Callable[..., Any]) -> Compiled:
    """Record a function's first call, and replay it in the calls that follow.

    ```python
    @mg.compile
    def step(x, labels):
        loss = nn.cross_entropy(model(x), labels)
        optimizer.update(mg.grad(loss, optimizer.params))
        return loss
    ```

    Args:
        function: it takes and returns Tensors, arrays, numbers and texts, also in
            tuples, lists and dicts. What it computes is computed by minigrad.

    Raises:
        CompileError: in the first call, where the function reads values, takes an array
            from elsewhere, or writes in place.
    """
    return Compiled(function)


def _sharing(arrays: Sequence[Any]) -> tuple[int, ...]:
    """Which arguments are one array: for each the first place where it stands."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(x), i) for i, x in enumerate(arrays))


def _as_tensor(x: Any) -> TensorBase:
    """Arrays come in as Tensors, so that nobody reads their values unseen.

    A Tensor comes in as another one, and an array as a view: the same may also be
    looked up from outside.
    """
    return wrap(array_of(x)[...], x.entry if isinstance(x, TensorBase) else None)


class Output(NamedTuple):
    """A Tensor that a step gives.

    Args:
        place: which of the program's outputs it is.
        recorded: whether it was on the tape.
        copied: whether it shares memory that is not its own.
    """

    place: int
    recorded: bool
    copied: bool


class Recording:
    """One program with what it needs from outside in every run.

    Args:
        key: the kind of arguments that it is for.
        capture: what was observed of the step.
        results: what the step returned.
        arrays: the arguments.
        memory: what the step's programs share.

    Raises:
        CompileError: results that were not computed in the step.
    """

    def __init__(
        self,
        key: Hashable,
        capture: Capture,
        results: Any,
        arrays: Sequence[Any],
        memory: Memory,
    ) -> None:
        self._check_leaves(results)
        self.key = key
        self.capture = capture
        self.guards = capture.guards
        self._outputs: list[int] = []
        self._roots = capture.program.roots()
        self.results = map_arrays(results, self._output)
        self.leaves = [
            (leaf, leaf.order in capture.cleared, map_arrays(leaf.grad, self._output))
            for leaf in capture.leaves.values()
        ]
        capture.program.outputs = self._outputs
        self.program, self.changes = optimize(capture.program)
        self.layouts: list[tuple[TensorBase, Value, type]] = [
            (tensor, self.program.values[number], type(tensor.array))
            for number, tensor in capture.tensors.items()
        ]
        self._aliases = self._aliases_of(arrays)
        self.replay = Replay(self.program, memory)

    def _check_leaves(self, results: Any) -> None:
        """Refuse results in which a Tensor could hide."""
        for leaf in leaves_of(results):
            if leaf is not None and not isinstance(leaf, str | bytes | int | float):
                raise CompileError(
                    f"a compiled step returns a {type(leaf).__name__}, which would be "
                    "the same after every run. Return Tensors, numbers and texts, in "
                    "tuples, lists or dicts."
                )

    def _output(self, x: Any) -> Output:
        array = array_of(x)
        number = self.capture.number_of(array)
        if number is None:
            raise CompileError(
                f"a compiled step returns {array.dtype}{list(array.shape)} that no "
                "operation of minigrad in it has made: it would be the same after "
                "every run. Return results alone."
            )
        is_own = self._roots[number] == number and number not in self._outputs
        self._outputs.append(number)
        is_input = number in self.capture.program.inputs
        recorded = isinstance(x, TensorBase) and x.entry is not None
        return Output(len(self._outputs) - 1, recorded, not (is_own or is_input))

    def holds(self, arrays: Sequence[Any]) -> bool:
        """Whether what the program depends on is as it was."""
        try:
            return (
                all(get() == value for get, value in self.guards)
                and all(_fits(*layout) for layout in self.layouts)
                and self._aliases_of(arrays) == self._aliases
            )
        except (AttributeError, KeyError, IndexError):
            return False  # a state that was looked up is gone

    def _aliases_of(self, arrays: Sequence[Any]) -> list[int | None]:
        """For each argument the Tensor from outside that has the same array."""
        known = {id(tensor.array): i for i, (tensor, _, _) in enumerate(self.layouts)}
        return [known.get(id(array)) for array in arrays]

    def run(self, arrays: Sequence[Any], measured: bool = False) -> Any:
        """Run the program on arguments, and give what the step returned."""
        for leaf, cleared, _ in self.leaves:
            if not cleared and leaf.grad is not None:
                raise CompileError(HELD_GRADIENT)
        inputs = [*arrays, *(tensor.array for tensor, _, _ in self.layouts)]
        run = self.replay.measure if measured else self.replay
        return self.give(run(*inputs))

    def give(self, found: Sequence[Any]) -> Any:
        """Set the leaves' gradients, and put the outputs where they were returned."""
        for leaf, _, output in self.leaves:
            leaf.grad = _filled(output, found)
        return _filled(self.results, found)


def _fits(tensor: TensorBase, value: Value, kind: type) -> bool:
    """Whether a Tensor's array now is like the one that was recorded."""
    array = tensor.array
    return (
        array.shape == value.shape
        and array.dtype == value.dtype
        and (value.strides is None or array.strides == value.strides)
        and array.__class__ is kind
    )


def _tensor(output: Output, found: Sequence[Any]) -> TensorBase:
    array = found[output.place]
    array = array.copy() if output.copied else array
    return wrap(array, Replayed(array) if output.recorded else None)


def _filled(results: Any, found: Sequence[Any]) -> Any:
    if isinstance(results, Output):
        return _tensor(results, found)
    if isinstance(results, dict):
        return {key: _filled(value, found) for key, value in results.items()}
    if hasattr(results, "_fields"):
        return type(results)(*(_filled(part, found) for part in results))
    if isinstance(results, tuple | list):
        return type(results)([_filled(part, found) for part in results])
    return results


class Replayed(Entry):
    """The entry of a compiled step's result: its tape was not kept."""

    __slots__ = ()

    name = "compiled"

    def __init__(self, array: Any) -> None:
        super().__init__(None, (), (), (), {}, array.shape, array.dtype)

    def propagate(self, gradient: Any, owned: bool, backward_pass: Any) -> None:
        """Refuse: the gradients belong into the step."""
        raise RuntimeError(
            "a backward pass has come to the result of a compiled step, which keeps no "
            "tape. Compute the gradients in the step, with mg.grad or backward(), or "
            "call the step without compiling it."
        )
