"""Capture: an observer that writes down the calls of a step as a program."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minigrad.backend import Array, is_array
from minigrad.compiler.program import (
    Instruction,
    Literal,
    Operand,
    Program,
    Value,
    primitive_of,
)
from minigrad.inspect.lines import users_line
from minigrad.ops.sources import moved
from minigrad.tape import (
    Call,
    Entry,
    Leaf,
    Observer,
    Primitive,
    TensorBase,
    next_order,
)
from minigrad.tape.writes import owner_of


class CompileError(RuntimeError):
    """A step that cannot be compiled, and why."""


MOVED = primitive_of(moved)
HELD_GRADIENT = (
    "a compiled step would add to a gradient that a parameter holds from before: a "
    "compiled step starts without. Call optimizer.zero_grad() in the step, before "
    "backward()."
)


OUTER_GRADIENT = (
    "a compiled step reads a gradient that was computed outside of it: it would be the "
    "first one for ever. Compute gradients in the step, or pass them as arguments."
)
ARGUMENT = (
    "a compiled step gives the .grad of an argument: another call has another one. Use "
    "mg.grad(loss, x), and return the gradient."
)


class Capture(Observer):
    """Writes down every call on Tensors and arrays, backward passes included.

    Every operand must be a result of an earlier call, an argument of the step, a Tensor
    that was there before (which is then looked up again in every run), or a number. An
    array from elsewhere would stay what it is now, so it is refused.

    Arrays are known by their identity, for as long as they live: no array is held.
    Nothing outside changes: a program that is recorded has not been run yet.
    """

    on_arrays = on_tensors = writes_to_copies = True

    def __init__(self, arguments: Iterable[TensorBase]) -> None:
        self.program = Program()
        self.tensors: dict[int, TensorBase] = {}  # inputs that are looked up
        self.guards: list[tuple[Callable[[], Any], Any]] = []
        self.leaves: dict[int, Leaf] = {}  # whose gradient was changed, by order
        self.cleared: set[int] = set()  # of these, those which the step itself clears
        self._numbers: dict[int, tuple[weakref.ref[Any], int]] = {}  # by id(array)
        self._inside: dict[int, weakref.ref[Any]] = {}  # Tensors made in the step
        self._constants: dict[int, Array] = {}  # by id(array), which live as long
        self._given: Sequence[Any] = ()
        self._calling = False
        self._before: dict[int, Any] = {}  # leaves' gradients, by order
        self._started = next_order()  # what is older comes from outside
        self._arguments = {id(x.entry) for x in arguments if x.entry is not None}
        self.refused: CompileError | None = None
        for tensor in arguments:
            self._add_input(tensor)

    def number_of(self, array: Array) -> int | None:
        """The value that an array is, if it is one of the program's."""
        found = self._numbers.get(id(array))
        return None if found is None else found[1]

    def _name(self, array: Array, number: int) -> None:
        key = id(array)
        gone = weakref.ref(array, lambda _: self._numbers.pop(key, None))
        self._numbers[key] = (gone, number)

    # -- calls ---------------------------------------------------------------------

    def given(self, operands: Sequence[Any]) -> None:
        """Look at what a call is given, before it may write there."""
        self._given = operands
        self._calling = True
        for x in operands:
            if isinstance(x, TensorBase):
                self.met(x)

    def met(self, tensor: Any) -> None:
        """Make a Tensor from outside an input."""
        array = tensor.array
        number = self.number_of(array)
        if id(tensor) in self._inside:
            return
        if number is None:
            self.tensors[self._add_input(tensor)] = tensor
        if number is None or number in self.program.inputs:
            self._guard(tensor)

    def _guard(self, tensor: TensorBase) -> None:
        """The program holds while a Tensor from outside is what it is now."""
        entry, number = tensor.entry, self.number_of(tensor.array)
        first = tensor if number is None else self.tensors.get(number, tensor)
        self.guards.append((lambda: tensor.entry is entry and not _hooks(entry), True))
        if first is not tensor:
            self.guards.append((lambda: tensor.array is first.array, True))

    def _add_input(self, tensor: TensorBase) -> int:
        number = self.program.add_input(Value.of(tensor.array))
        self._name(tensor.array, number)
        return number

    def constant(self, array: Array) -> None:
        """Keep what was made of numbers in the step's own text."""
        self._constants[id(array)] = array

    def tensor_made(self, tensor: Any) -> None:
        """Remember Tensors that the step itself made: they are not from outside."""
        key = id(tensor)
        gone = weakref.ref(tensor, lambda _: self._inside.pop(key, None))
        self._inside[key] = gone

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        """Write the call down."""
        self._calling = False
        operands = tuple(
            self._operand(call, i, x, given)
            for i, (x, given) in enumerate(zip(call.operands, self._given, strict=True))
        )
        if call.primitive is MOVED and isinstance(operands[0], Literal):
            self.constant(call.results[0])
            return
        if _has_free_shape(call, operands):
            raise self.refusal(
                f"an index by a boolean mask, at {users_line()}, gives as many "
                "elements as the mask has: a compiled step has fixed shapes. Choose "
                "with where(), or multiply by the mask."
            )
        owners = {
            id(owner_of(x)): of for x, of in zip(call.operands, operands, strict=True)
        }
        shares = tuple(_shared(x, owners) for x in call.results)
        if call.primitive.writes:  # it wrote into copies, and may give what it wrote
            written = call.primitive.written(operands)
            shares = (written[0], *shares[1:])
        results = tuple(map(self._result, call.results))
        self._add(call.primitive, operands, call.settings, results, shares)

    def _add(
        self,
        primitive: Primitive,
        operands: tuple[Operand, ...],
        settings: dict[str, Any],
        results: tuple[int | None, ...],
        shares: tuple[int | None, ...] = (),
    ) -> None:
        self.program.body.append(
            Instruction(primitive, operands, settings, results, shares, users_line())
        )

    def _operand(self, call: Call, i: int, array: Any, given: Any) -> Operand:
        if not is_array(array):
            return Literal(array)
        number = self.number_of(array)
        if number is not None:
            return number
        made_here = not (is_array(given) or isinstance(given, TensorBase))
        if made_here or id(array) in self._constants:
            return Literal(array)
        raise self.refusal(
            f"operand {i} of {call.primitive.name}, {array.dtype}{list(array.shape)} "
            f"at {users_line()}, was not computed by an operation of minigrad: in a "
            "compiled step it would stay the same for ever. Pass it as an argument of "
            "the step, make it a Tensor outside of the step, or compute it with "
            "minigrad's operations."
        )

    def _result(self, result: Any) -> int | None:
        if not is_array(result):
            return None  # a residual such as sizes, which follow from the shapes
        number = self.program.add_value(Value.of(result))
        self._name(result, number)
        return number

    # -- what is no call -----------------------------------------------------------

    def refusal(self, message: str) -> CompileError:
        """The error, which stands even if the step goes on after it."""
        self.refused = CompileError(message)
        return self.refused

    def read(self, tensor: Any) -> None:
        """Refuse to show values: what depends on them would stay as it is now."""
        raise self.refusal(
            f"the values of a tensor of shape {tensor.shape} are read inside of a "
            f"compiled step, at {users_line()}: what follows from them would be the "
            "same in every later run. Return the tensor and read it outside, choose "
            "with where(), or do not compile this step."
        )

    def wrote(self, array: Any, operation: str) -> None:
        """Refuse writes by hand; those of primitives are part of a call."""
        if self._calling:
            return
        raise self.refusal(
            f"{operation} at {users_line()} writes in place inside of a compiled step, "
            "which only optimisers do there. Compute a new tensor, or write outside "
            "of the step."
        )

    def depends(self, get: Callable[[], Any], value: Any) -> None:
        """The program holds while `get` reads this."""
        self.guards.append((get, value))

    def checked(self, array: Any, check: Callable[[Any], None]) -> None:
        """Every run looks at the values as well."""
        array = array.array if isinstance(array, TensorBase) else array
        number = self.number_of(array)
        if number is not None:
            self._add(Primitive(_checking(check)), (number,), {}, ())

    def grad_read(self, leaf: Any) -> None:
        """Refuse a gradient from before; that there is none, the program depends on."""
        if leaf.order > self._started or leaf.order in self.leaves:
            return
        if leaf.grad is not None:
            raise self.refusal(OUTER_GRADIENT)
        self.guards.append((lambda: leaf.grad is None, True))

    def grad_assigned(self, leaf: Any, before: Any) -> None:
        """Note that what the leaf's gradient was before does not matter."""
        if leaf.order not in self.leaves and leaf.order < self._started:
            self.cleared.add(leaf.order)
        self._change_grad(leaf, before)

    def grad_added(self, leaf: Any, known: Any) -> None:
        """Note that the step gives a leaf its gradient."""
        outer = leaf.order not in self.leaves and leaf.order < self._started
        if outer and known is not None:
            raise self.refusal(HELD_GRADIENT)
        self._change_grad(leaf, known)

    def _change_grad(self, leaf: Any, before: Any) -> None:
        if leaf.order > self._started:
            return  # it was made in the step, and is gone after it
        if id(leaf) in self._arguments:
            raise self.refusal(ARGUMENT)
        self.leaves[leaf.order] = leaf
        self._before.setdefault(leaf.order, before)

    def differentiated(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        """Refuse to go back to what was computed before the step."""
        if entry.order < self._started:
            raise self.refusal(
                f"a backward pass in a compiled step, at {users_line()}, goes back to "
                f"{entry.name}, which was computed before it: another call has another "
                "past. Compute it in the step, or pass it detached."
            )

    def restore_gradients(self) -> None:
        """Give the leaves the gradients that they had before."""
        for order, leaf in self.leaves.items():
            leaf.grad = self._before[order]

    def hooked(self, entry: Entry) -> None:
        """Refuse hooks, which a later run would not call."""
        raise self.refusal(
            f"a gradient hook on {entry.name} would be called in the first run of a "
            "compiled step alone. Remove it, return the gradient from the step, or do "
            "not compile this step."
        )


def _has_free_shape(call: Call, operands: Sequence[Operand]) -> bool:
    """Whether the result's shape depends on values."""
    if call.primitive.name not in ("gather", "scatter_add"):
        return False
    pairs = zip(call.operands[1:], operands[1:], strict=True)
    return any(x.dtype.kind == "b" and isinstance(of, int) for x, of in pairs)


def _shared(result: Any, owners: dict[int, Operand]) -> int | None:
    """The operand whose memory a result is."""
    found = owners.get(id(owner_of(result))) if is_array(result) else None
    return found if isinstance(found, int) else None


def _hooks(entry: Entry | None) -> Any:
    return entry is not None and (entry.notes or {}).get("hooks")


def _checking(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def check_values(a: Any) -> None:
        check(a)

    return check_values
