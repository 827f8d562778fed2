"""Compiled steps: functions that are recorded once and then replayed."""

from __future__ import annotations

import functools
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from minigrad.compiler.buffers import Memory
from minigrad.compiler.capture import HELD_GRADIENT, Capture, CompileError
from minigrad.compiler.passes import optimize
from minigrad.compiler.program import Value
from minigrad.compiler.replay import Replay
from minigrad.compiler.report import Explanation, Listing
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
        self.recordings: OrderedDict[Hashable, list[Recording]] = OrderedDict()
        self._lock = threading.RLock()
        self._memory = Memory()

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay the recording that fits, or record the call."""
        if recording.observers:  # somebody looks at single calls, another step perhaps
            return self.function(*args, **kwargs)
        return self._run(args, kwargs)

    def measure(self, *args: Any, **kwargs: Any) -> Any:
        """Call the step and note the time of each instruction, for `program()`."""
        self._run(args, kwargs)
        return self._run(args, kwargs, measured=True)

    def _run(self, args: Any, kwargs: Any, measured: bool = False) -> Any:
        given = (args, kwargs)
        arrays = arrays_in(given)
        key = (recording.enabled, _sharing(arrays), signature(given))
        with self._lock:
            inputs = [array_of(x) for x in arrays]
            for known in self.recordings.get(key, ()):
                if known.holds(inputs):
                    self.recordings.move_to_end(key)
                    return known.run(inputs, measured)
            return self._record(key, args, kwargs)

    def _record(self, key: Hashable, args: Any, kwargs: Any) -> Any:
        given = map_arrays((args, kwargs), _as_tensor)
        capture = Capture(arrays_in(given))
        try:
            with Scope(observer=capture), seeds_held(SEEDED):
                results = self.function(*given[0], **given[1])
            known = Recording(capture, results, self._memory)
        finally:
            capture.restore_gradients()
        self.recordings.setdefault(key, []).append(known)
        if len(self.recordings) > MOST_RECORDINGS:
            self.recordings.popitem(last=False)
            warnings.warn(
                f"{self.function.__name__} was recorded for more than "
                f"{MOST_RECORDINGS} kinds of arguments, and the oldest recording was "
                "dropped. Pad sequences to a few lengths, and pass numbers that change "
                "as arrays.",
                stacklevel=3,
            )
        return known.run([array_of(x) for x in arrays_in((args, kwargs))])

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
            raise RuntimeError(
                f"{self.function.__name__} has not been recorded yet. Call it first."
            )
        return next(reversed(self.recordings.values()))[-1]


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
    return tuple(first.setdefault(id(array_of(x)), i) for i, x in enumerate(arrays))


def _as_tensor(x: Any) -> TensorBase:
    """Arrays come in as Tensors, so that nobody reads their values unseen.

    A Tensor comes in as another one: the same may also be looked up from outside.
    """
    return wrap(x.array, x.entry) if isinstance(x, TensorBase) else wrap(x)


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
        capture: what was observed of the step.
        results: what the step returned.
        memory: what the step's programs share.

    Raises:
        CompileError: results that were not computed in the step.
    """

    def __init__(self, capture: Capture, results: Any, memory: Memory) -> None:
        self._check_leaves(results)
        self.capture = capture
        self.guards = capture.guards
        self.same = capture.same
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
        for tensor, place in self.same:
            if tensor.array is not arrays[place]:
                return False
        for get, value in self.guards:
            if get() != value:
                return False
        return all(_fits(*layout) for layout in self.layouts)

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
