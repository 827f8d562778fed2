"""What is an entry, a Primitive, recording, backward?  The engine.

Every operation on a `Tensor` writes one `Entry` on the tape: which primitive, which
parent entries, which arrays its gradient rule will need.  `Walk` reads the tape
backwards and hands each entry's gradient to its parents.  Nothing here knows any
calculus: the rules stand beside the forwards in `minigrad/ops/`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigrad import backend
from minigrad.backend import ARRAY_TYPES, SCALAR_TYPES, Array

next_order = itertools.count(1).__next__


# -- recording ---------------------------------------------------------------------


class Recording(threading.local):
    """Whether this thread records, and who watches; `plain` is the one hot flag."""

    enabled = True
    observers: tuple[Any, ...] = ()
    plain = True

    def set(self, enabled: bool, observers: tuple[Any, ...]) -> None:
        """Change both facts and the flag that follows from them."""
        self.enabled = enabled
        self.observers = observers
        self.plain = enabled and not observers


recording = Recording()


class Scope:
    """A context (and decorator) that changes recording and always restores it."""

    def __init__(self, enabled: bool | None = None, observer: Any = None) -> None:
        self.enabled = enabled
        self.observer = observer
        self.before: list[tuple[bool, tuple[Any, ...]]] = []

    def __enter__(self) -> Any:
        enabled, observers = recording.enabled, recording.observers
        self.before.append((enabled, observers))
        if self.observer is not None:
            observers = (*observers, self.observer)
        recording.set(enabled if self.enabled is None else self.enabled, observers)
        return self.observer

    def __exit__(self, *_: object) -> None:
        recording.set(*self.before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with Scope(self.enabled, self.observer):
                return function(*args, **kwargs)

        return wrapped


def no_grad() -> Scope:
    """Record nothing inside: ``with no_grad(): ...`` or ``@no_grad()``."""
    return Scope(enabled=False)


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
        self, primitive, parents, operands, output, settings, shape, dtype
    ) -> None:
        self.order = next_order()
        self.primitive = primitive
        self.parents = parents
        self.operands = operands
        self.output = output
        self.settings = settings
        self.shape = shape
        self.dtype = dtype
        self.notes = None

    def note(self, key: str, value: Any) -> None:
        """Attach something rare (a hook, the user's line) to this entry."""
        if self.notes is None:
            self.notes = {}
        self.notes[key] = value

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
        if self.grad is not None:
            gradient = self.grad.array + gradient
        elif not owned:
            gradient = gradient.copy()
        self.grad = wrap(gradient)


class Item(Entry):
    """One output of an entry with several (split, unstack): a part of one whole."""

    __slots__ = ("index",)

    name = "item"

    def __init__(self, whole: Entry, index: int, array: Array) -> None:
        super().__init__(None, (whole,), (), None, {}, array.shape, array.dtype)
        self.index = index

    def propagate(self, gradient: Any, owned: bool, walk: Walk) -> None:
        """Fill this item's place in the list that the whole's rule joins once."""
        whole = self.parents[0]
        walk.list_of(whole)[self.index] = gradient


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
    __array_priority__ = 1000  # CuPy asks this instead

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
        backend.register_cupy()
        array = backend.as_array(source, dtype)
        array = backend.to_device(array, device) if device else array
        self.array = array.copy() if np.may_share_memory(array, source) else array
        self.entry = None
        if requires_grad:
            self.entry = new_leaf(self.array)


def new_leaf(array: Array) -> Leaf:
    """A leaf for `array`.

    Raises:
        TypeError: integers and booleans have no gradients.
    """
    if array.dtype.kind not in "fc":
        raise TypeError(
            f"a tensor of dtype {array.dtype} cannot require gradients: only real "
            "numbers have them. Make it of floats, for example with "
            "x.astype('float32'), or leave requires_grad=False."
        )
    return Leaf(array.shape, array.dtype)


def wrap(array: Any, entry: Entry | None = None) -> Tensor:
    """A Tensor around `array`, without a copy."""
    tensor = Tensor.__new__(Tensor)
    tensor.array = array if array.__class__ in ARRAY_TYPES else as_result(array)
    tensor.entry = entry
    return tensor


def as_result(value: Any) -> Array:
    """0-d results are arrays, not NumPy scalars (whose class is no array type)."""
    return value if backend.is_array(value) else np.asarray(value)


# -- primitives --------------------------------------------------------------------


class Pull(NamedTuple):
    """A gradient rule, and what it reads: names of operands, "y", shapes, settings."""

    rule: Callable[..., Any]
    operands: frozenset[int]
    rest: int | None  # the rule names the variadic operands, from this one on
    output: bool
    apply: Callable[[Any, Any], Any]  # (gradient, entry) -> gradient of the operand


class Primitive:
    """An operation that the tape can record: forward, rules, and facts about them.

    Args:
        forward: arrays to array; positional arguments are operands, keyword-only
            ones are static settings.
        rules: one rule an operand (None: no gradient); a rule's parameter names say
            what the tape keeps for it: `g` the cotangent, `y` the output, an
            operand's name, `a_shape` for its shape alone, or a setting's name.
        joint: instead of `rules`, one rule that returns all operands' gradients.
        sequence: the operands come as one list (concatenate, stack).
        many: the forward returns a list of outputs (split, unstack).
        fit: sums a gradient down to an operand's shape after broadcasting.
        into: adds a gradient to a running total in place, for operands of which
            an operation reads only a part: T slices then cost O(T).
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        rules: Sequence[Callable[..., Any] | None],
        joint: Callable[..., Any] | None = None,
        sequence: bool = False,
        many: bool = False,
        fit: Callable[..., Any] | None = None,
        into: Callable[..., Any] | None = None,
    ) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.rules = tuple(rules)
        self.joint_rule = joint
        self.sequence = sequence
        self.many = many
        self.fit = fit
        self.into = into
        self._read_signature()
        self.pulls = tuple(self._pull(rule, i) for i, rule in enumerate(self.rules))
        self.joint = self._pull(joint, None)
        self.applies = tuple(pull and pull.apply for pull in self.pulls)
        self.simple = joint is None and into is None and not many
        self.keeps: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}

    def _read_signature(self) -> None:
        parameters = inspect.signature(self.forward).parameters.values()
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        static = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self.rest_name = rest[0] if rest else None
        self.operand_names = [p.name for p in positional]
        self.setting_names = [p.name for p in static]
        self.defaults = {p.name: p.default for p in static if p.default is not p.empty}

    def _pull(self, rule: Callable[..., Any] | None, own: int | None) -> Pull | None:
        """Read a rule's signature: what it names is what the tape keeps."""
        if rule is None:
            return None
        names = list(inspect.signature(rule).parameters)[1:]
        reads = [self._source(name, own) for name in names]
        operands = frozenset(i for kind, i in reads if kind == "operand")
        rest = next((i for kind, i in reads if kind == "rest"), None)
        output = any(kind == "output" for kind, _ in reads)
        return Pull(rule, operands, rest, output, _applier(rule, reads, names))

    def _source(self, name: str, own: int | None) -> tuple[str, Any]:
        if name == "y":
            return "output", None
        if name in self.setting_names:
            return "setting", name
        if name in self.operand_names:
            return "operand", self.operand_names.index(name)
        if name.endswith("_shape") and name[:-6] in self.operand_names:
            return "shape", self.operand_names.index(name[:-6])
        if name == self.rest_name:
            return "rest", len(self.operand_names)
        if name == "shapes" and self.sequence:
            return "setting", name
        raise TypeError(
            f"the rule of {self.name!r} names {name!r}, which is neither an operand "
            f"{self.operand_names}, nor a setting {self.setting_names}, nor 'y', nor an "
            "operand's shape such as 'a_shape'. Rename the rule's parameter."
        )

    def keep(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which operands and whether the output are kept when `needs` gradients."""
        if needs not in self.keeps:
            pulls = [self.joint] if self.joint else self.pulls
            live = [
                pull
                for i, pull in enumerate(pulls)
                if pull and (self.joint or (i < len(needs) and needs[i]))
            ]
            kept = frozenset[int]().union(*(pull.operands for pull in live))
            rests = [pull.rest for pull in live if pull.rest is not None]
            kept |= frozenset(range(min(rests, default=len(needs)), len(needs)))
            flags = tuple(i in kept for i in range(len(needs)))
            self.keeps[needs] = flags, any(pull.output for pull in live)
        return self.keeps[needs]

    def differentiable(self, index: int) -> bool:
        """Whether operand `index` has a gradient rule."""
        if self.joint is not None:
            return True
        return index < len(self.pulls) and self.pulls[index] is not None

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _applier(
    rule: Callable[..., Any], reads: list[tuple[str, Any]], names: list[str]
) -> Callable[[Any, Any], Any]:
    """`rule` as a function of (gradient, entry); the common forms are written out."""
    kinds = [kind for kind, _ in reads]
    if not kinds:
        return lambda g, entry: rule(g)
    if kinds == ["output"]:
        return lambda g, entry: rule(g, entry.output)
    if kinds == ["operand"]:
        i = reads[0][1]
        return lambda g, entry: rule(g, entry.operands[i])
    getters = [(name, _GETTERS[kind], what) for name, (kind, what) in zip(names, reads)]
    return lambda g, entry: rule(
        g, **{name: get(entry, what) for name, get, what in getters}
    )


_GETTERS: dict[str, Callable[[Any, Any], Any]] = {
    "operand": lambda entry, i: entry.operands[i],
    "output": lambda entry, _: entry.output,
    "setting": lambda entry, name: entry.settings[name],
    "shape": lambda entry, i: entry.parents[i].shape,
    "rest": lambda entry, i: entry.operands[i:],
}

F = TypeVar("F", bound=Callable[..., Any])


def primitive(
    *rules: Callable[..., Any] | None, **facts: Any
) -> Callable[[F], Callable[..., Any]]:
    """Make a forward function and its gradient rules a recorded operation.

    The result is a plain function (so it serves as a method too): given Tensors it
    records and returns a Tensor, given arrays it returns an array and records nothing.
    Its `primitive` attribute holds the `Primitive`.
    """

    def decorate(forward: F) -> Callable[..., Any]:
        made = Primitive(forward, rules, **facts)
        call = functools.wraps(forward)(_caller(made))
        call.primitive = made  # type: ignore[attr-defined]
        registry[made.name] = call
        return call

    return decorate


registry: dict[str, Callable[..., Any]] = {}


def _caller(made: Primitive) -> Callable[..., Any]:
    plain = not (made.setting_names or made.joint or made.many or made.rest_name)
    if plain and len(made.operand_names) == 1:
        return _unary(made)
    if plain and len(made.operand_names) == 2:
        return _binary(made)
    return _general(made)


def _unary(made: Primitive) -> Callable[[Any], Any]:
    """The caller for one operand and no settings: what `record` does, inlined."""
    forward = made.forward
    (keep_operand,), keep_output = made.keep((True,))

    def call(a: Any) -> Any:
        if not isinstance(a, Tensor):
            return forward(a) if a.__class__ in ARRAY_TYPES else made_general(a)
        parent = a.entry
        if parent is None or not recording.plain or not made.pulls:
            return made_general(a)
        array = a.array
        result = forward(array)
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        tensor = new_tensor(Tensor)
        tensor.array = result
        tensor.entry = Entry(
            made,
            (parent,),
            (array,) if keep_operand else NOTHING,
            result if keep_output else None,
            NO_SETTINGS,
            result.shape,
            result.dtype,
        )
        return tensor

    made_general = _general(made)
    return call


def _binary(made: Primitive) -> Callable[[Any, Any], Any]:
    """The caller for two operands and no settings: what `record` does, inlined."""
    forward = made.forward
    keep = {(x, y): made.keep((x, y)) for x in (False, True) for y in (False, True)}
    rule_a, rule_b = made.differentiable(0), made.differentiable(1)

    def call(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor):
            x, parent_a = a.array, a.entry
        elif a.__class__ in SCALAR_TYPES or a.__class__ in ARRAY_TYPES:
            x, parent_a = a, None
        else:
            return made_general(a, b)
        if isinstance(b, Tensor):
            y, parent_b = b.array, b.entry
        elif b.__class__ in SCALAR_TYPES or b.__class__ in ARRAY_TYPES:
            y, parent_b = b, None
        else:
            return made_general(a, b)
        needs = (parent_a is not None and rule_a, parent_b is not None and rule_b)
        if needs == NEITHER or not recording.plain:
            return made_general(a, b)
        try:
            result = forward(x, y)
        except (ValueError, TypeError) as error:
            raise explain(made, (x, y), error) from error
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        (keep_a, keep_b), keep_output = keep[needs]
        tensor = new_tensor(Tensor)
        tensor.array = result
        tensor.entry = Entry(
            made,
            (parent_a, parent_b),
            (x if keep_a else None, y if keep_b else None)
            if keep_a or keep_b
            else NOTHING,
            result if keep_output else None,
            NO_SETTINGS,
            result.shape,
            result.dtype,
        )
        return tensor

    made_general = _general(made)
    return call


NEITHER = (False, False)
NOTHING = (None, None)
NO_SETTINGS: dict[str, Any] = {}
new_tensor = Tensor.__new__


def _general(made: Primitive) -> Callable[..., Any]:
    """The caller for any primitive: sort out operands and settings, then record."""

    def call(*args: Any, **settings: Any) -> Any:
        operands, settings = _sort_arguments(made, args, settings)
        if not any(isinstance(operand, Tensor) for operand in operands):
            return run_forward(made, [_constant(x) for x in operands], settings)
        return record(made, operands, settings)

    return call


def _sort_arguments(
    made: Primitive, args: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Operands first; further positional arguments are settings, in their order."""
    if made.sequence:
        operands, extra = args[0], args[1:]
    elif made.rest_name:
        operands, extra = args, ()
    else:
        count = len(made.operand_names)
        operands, extra = args[:count], args[count:]
        if len(operands) < count or len(extra) > len(made.setting_names):
            inspect.signature(made.forward).bind(*args, **settings)  # raises
    given = {**dict(zip(made.setting_names, extra)), **settings}
    hashable = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
    }
    return operands, {**made.defaults, **hashable}


def _constant(operand: Any) -> Any:
    if operand.__class__ in SCALAR_TYPES or operand.__class__ in ARRAY_TYPES:
        return operand
    backend.register_cupy()
    return backend.as_array(operand)


def run_forward(made: Primitive, arrays: list[Any], settings: dict[str, Any]) -> Any:
    """The forward on arrays, its errors explained."""
    try:
        if made.sequence:
            return made.forward(arrays, **settings)
        return made.forward(*arrays, **settings)
    except (ValueError, TypeError, IndexError) as error:
        raise explain(made, arrays, error, settings) from error


def record(made: Primitive, operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    """Run the forward and, where a gradient is wanted, write the entry."""
    tensors = [x if isinstance(x, Tensor) else None for x in operands]
    arrays = [
        x.array if isinstance(x, Tensor) else _constant(x) for x in operands
    ]
    started = perf_counter()
    result = run_forward(made, arrays, settings)
    seconds = perf_counter() - started
    parents = tuple(
        t.entry if t is not None and made.differentiable(i) else None
        for i, t in enumerate(tensors)
    )
    entry = None
    if recording.enabled and any(parent is not None for parent in parents):
        entry = _new_entry(made, parents, arrays, result, settings)
    for observer in recording.observers:
        observer.forward(made, entry, arrays, result, seconds)
    if made.many:
        return [wrap(r, entry and Item(entry, i, r)) for i, r in enumerate(result)]
    return wrap(result, entry)


def _new_entry(
    made: Primitive,
    parents: tuple[Entry | None, ...],
    arrays: list[Any],
    result: Any,
    settings: dict[str, Any],
) -> Entry:
    flags, keep_output = made.keep(tuple(parent is not None for parent in parents))
    kept = tuple(x if flag else None for x, flag in zip(arrays, flags))
    if made.sequence:
        settings = {**settings, "shapes": tuple(np.shape(x) for x in arrays)}
    if made.many:
        shape: Any = tuple(r.shape for r in result)
        return Entry(made, parents, kept, None, settings, shape, result[0].dtype)
    result = as_result(result)
    output = result if keep_output else None
    return Entry(made, parents, kept, output, settings, result.shape, result.dtype)


# -- errors ------------------------------------------------------------------------


def explain(
    made: Primitive,
    arrays: Sequence[Any],
    error: Exception,
    settings: dict[str, Any] | None = None,
) -> Exception:
    """The library's error, told in terms of the operation and its operands."""
    kind = IndexError if isinstance(error, IndexError) else ValueError
    kind = TypeError if isinstance(error, TypeError) else kind
    devices = sorted({backend.device_of(x) for x in arrays if backend.is_array(x)})
    told = ", ".join(
        f"{x.dtype}{list(x.shape)}" if backend.is_array(x) else repr(x) for x in arrays
    )
    if settings:
        told += "; " + ", ".join(f"{name}={v!r}" for name, v in settings.items())
    what = f"{made.name}({told}) failed: {error}"
    if len(devices) > 1:
        return RuntimeError(
            f"{made.name} got operands on different devices, {' and '.join(devices)}: "
            "an operation runs on one device. Move one of them first, for example "
            f"with x.to({devices[0]!r})."
        )
    return kind(f"{what.rstrip('.')}. {_way_out(made, arrays, kind)}")


def _way_out(made: Primitive, arrays: Sequence[Any], kind: type) -> str:
    if kind is IndexError:
        return "Check the index against the shape."
    if made.name == "matmul":
        return (
            "The last axis of the first operand and the last but one of the second "
            "must agree: check the shapes, or transpose one with .T or .swapaxes."
        )
    if kind is ValueError and len(arrays) > 1 and made.fit is not None:
        return (
            "Shapes broadcast when, counted from the right, each pair of axes is equal "
            "or one of them is 1: reshape or expand_dims one operand."
        )
    return "Check the operands' shapes and dtypes and the settings."


def freed_error(entry: Entry) -> RuntimeError:
    return RuntimeError(
        f"the tape was already walked at {entry.name} (entry {entry.order}): backward "
        "frees what it has used, so that memory is available at once, and a second "
        "backward finds nothing. Pass retain_graph=True to the first one, or compute "
        "the output again."
    )


# -- writes in place ---------------------------------------------------------------


class Stamp(NamedTuple):
    """When and by which operation an array was last written in place."""

    order: int
    operation: str
    array: weakref.ref[Any]


class Writes:
    """Which arrays were written in place, and when: nothing is paid until one is.

    A write stamps the array that owns the memory with the next creation number, so
    views share their base's stamp; the walk looks closer only at entries older than
    the last write.
    """

    def __init__(self) -> None:
        self.last = 0
        self.stamps: dict[int, Stamp] = {}

    def record(self, array: Array, operation: str) -> None:
        """Stamp `array`'s memory."""
        owner = _owner(array)
        key = id(owner)
        gone = weakref.ref(owner, lambda _: self.stamps.pop(key, None))
        self.last = next_order()
        self.stamps[key] = Stamp(self.last, operation, gone)

    def check(self, entry: Entry) -> None:
        """Refuse an entry whose kept arrays were written after it was recorded."""
        names = entry.primitive.operand_names if entry.primitive else []
        for i, array in enumerate((*entry.operands, entry.output)):
            stamp = self.stamps.get(id(_owner(array)))
            if stamp is None or stamp.order < entry.order:
                continue
            which = "its output" if i == len(entry.operands) else "an operand"
            if i < min(len(names), len(entry.operands)):
                which = f"operand {names[i]!r}"
            raise RuntimeError(
                f"{entry.name} (entry {entry.order}{_line(entry)}) kept {which} of shape "
                f"{array.shape} for its gradient, but {stamp.operation} changed that "
                "array in place before backward: the gradient would be wrong. Change a "
                "copy instead (x = x + 1, or x.detach() of a Tensor(x)), or write after "
                "backward."
            )


def _owner(array: Any) -> Any:
    """The array that owns the memory `array` looks into."""
    while getattr(array, "base", None).__class__ in ARRAY_TYPES:
        array = array.base
    return array


def _line(entry: Entry) -> str:
    line = entry.notes.get("line") if entry.notes else None
    return f", {line}" if line else ""


writes = Writes()
record_write = writes.record


# -- backward ----------------------------------------------------------------------


class Recorded:
    """An entry whose arrays are Tensors again, for rules that are to be recorded."""

    def __init__(self, entry: Entry) -> None:
        operands = entry.operands
        parents = entry.parents
        self.operands = tuple(
            _rewrap(x, parent) for x, parent in zip(operands, parents, strict=False)
        )
        self.output = _rewrap(entry.output, entry)
        self.parents = parents
        self.settings = entry.settings


def _rewrap(array: Any, entry: Entry | None) -> Any:
    return wrap(array, entry) if array.__class__ in ARRAY_TYPES else array


class Walk:
    """One reading of the tape from an output back to where it began.

    A heap hands out the newest pending entry, which has had all its consumers: no
    search is needed beforehand, and no recursion.

    Args:
        create_graph: run the rules on Tensors, so that they are recorded too.
        retain_graph: keep the entries' arrays for another walk.
        wanted: entries whose gradients are to be collected in `found`.
        into_leaves: add the leaves' gradients to their `.grad`.
    """

    def __init__(
        self,
        create_graph: bool = False,
        retain_graph: bool = False,
        wanted: Iterable[Entry] = (),
        into_leaves: bool = False,
    ) -> None:
        self.create_graph = create_graph
        self.retain_graph = retain_graph or create_graph
        self.into_leaves = into_leaves
        self.wanted = {entry.order for entry in wanted}
        self.oldest = min(self.wanted, default=0)
        self.found: dict[int, Any] = {}
        self.pending: dict[int, list[Any]] = {}
        self.heap: list[int] = []

    def start(self, entry: Entry, gradient: Any) -> None:
        """Add `gradient` to what `entry` has received."""
        self.push(entry, gradient, False)

    def push(self, entry: Entry, gradient: Any, owned: bool) -> None:
        """Add a contribution to an entry's gradient."""
        known = self.pending.get(entry.order)
        if known is None:
            self.pending[entry.order] = [entry, gradient, owned]
            heappush(self.heap, -entry.order)
        else:
            self.add(known, gradient)

    def add(self, known: list[Any], gradient: Any) -> None:
        """Add to a gradient that is pending already.

        The first contribution may be shared with others, so the second makes a fresh
        sum, which is ours: the third and later ones are added in place.
        """
        if known[2] and not self.create_graph:
            known[1] += gradient
        else:
            known[1] = known[1] + gradient
            known[2] = True

    def list_of(self, whole: Entry) -> list[Any]:
        """The list that a whole's items fill with their gradients."""
        known = self.pending.get(whole.order)
        if known is None:
            known = [whole, [None] * len(whole.shape), False]
            self.pending[whole.order] = known
            heappush(self.heap, -whole.order)
        return known[1]

    def run(self) -> dict[int, Any]:
        """Walk until nothing is pending; return the wanted gradients by order."""
        heap, pending = self.heap, self.pending
        plain = not (self.create_graph or recording.observers)
        while heap and -heap[0] >= self.oldest:
            order = -heappop(heap)
            entry, g, owned = pending.pop(order)
            if entry.notes is not None:
                g = _run_hooks(entry, g)
            if order in self.wanted:
                self.found[order] = g if owned else _copy(g)
            made = entry.primitive
            if made is None:
                entry.propagate(g, owned, self)
                continue
            if entry.parents is None:
                raise freed_error(entry)
            if writes.last > order:
                writes.check(entry)
            if plain and made.simple:
                self._step(entry, g, made.applies)
            else:
                self._step_any(entry, g)
            if not self.retain_graph:
                entry.release()
        return self.found

    def _step(self, entry: Entry, g: Any, applies: tuple[Any, ...]) -> None:
        """Hand `g` on to the parents: `_step_any` for the common case, inlined."""
        pending = self.pending
        for parent, apply in zip(entry.parents, applies):
            if parent is None:
                continue
            gradient = apply(g, entry)
            if gradient.shape != parent.shape or gradient.dtype is not parent.dtype:
                gradient = _fit(entry.primitive, gradient, parent)
            known = pending.get(parent.order)
            if known is None:
                owned = parent.primitive is None and _is_fresh(gradient, g)
                pending[parent.order] = [parent, gradient, owned]
                heappush(self.heap, -parent.order)
            else:
                self.add(known, gradient)

    def _step_any(self, entry: Entry, g: Any) -> None:
        """Hand `g` on to the parents, in every case: joint, into, watched, recorded."""
        started = perf_counter()
        handed = [
            (parent, gradient)
            for parent, gradient in self._gradients(entry, g)
            if parent is not None and gradient is not None
        ]
        for observer in recording.observers:
            observer.backward(entry, g, handed, perf_counter() - started)
        for parent, gradient in handed:
            fitted = _fit(entry.primitive, gradient, parent)
            self.push(parent, fitted, _is_fresh(fitted, g))

    def _gradients(self, entry: Entry, g: Any) -> Iterable[tuple[Any, Any]]:
        made = entry.primitive
        source = Recorded(entry) if self.create_graph else entry
        if made.many:
            g = _fill(g, entry)
        if made.joint is not None:
            yield from zip(entry.parents, made.joint.apply(g, source), strict=True)
            return
        for parent, apply in zip(entry.parents, made.applies):
            if parent is not None and not self._add_into(made, parent, entry, g):
                yield parent, apply(g, source)

    def _add_into(self, made: Primitive, parent: Entry, entry: Entry, g: Any) -> bool:
        """Add to the parent's running total in place, where that is possible."""
        known = self.pending.get(parent.order)
        if made.into is None or self.create_graph or known is None or not known[2]:
            return False
        made.into(known[1], g, entry)
        return True


def _fit(made: Primitive, gradient: Any, parent: Entry) -> Any:
    """Bring a rule's gradient to the parent's shape and dtype."""
    if gradient.shape != parent.shape:
        if made.fit is None:
            raise ValueError(
                f"the gradient rule of {made.name!r} returned shape {gradient.shape} for "
                f"an operand of shape {parent.shape}: they must be equal. Correct the "
                "rule (or give the primitive fit=, if its operands broadcast)."
            )
        gradient = made.fit(gradient, parent.shape)
    if gradient.dtype != parent.dtype:
        gradient = gradient.astype(parent.dtype)
    return gradient


def _is_fresh(gradient: Any, g: Any) -> bool:
    """Whether a rule made this array, so that nobody else holds it."""
    if isinstance(gradient, Tensor):
        return False
    return gradient is not g and gradient.base is None


def _copy(gradient: Any) -> Any:
    return gradient if isinstance(gradient, Tensor) else gradient.copy()


def _fill(gradients: list[Any], whole: Entry) -> list[Any]:
    """Zeros for the items of a whole that no gradient reached."""
    model = next(g for g in gradients if g is not None)
    model = model.array if isinstance(model, Tensor) else model
    return [
        np.zeros_like(model, shape=shape) if g is None else g
        for g, shape in zip(gradients, whole.shape, strict=True)
    ]


def _run_hooks(entry: Entry, g: Any) -> Any:
    """Show the entry's complete gradient to its hooks; each may replace it."""
    for hook in entry.notes.get("hooks", ()):
        replaced = hook(g if isinstance(g, Tensor) else wrap(g))
        if replaced is None:
            continue
        if tuple(replaced.shape) != tuple(entry.shape):
            raise ValueError(
                f"a gradient hook on {entry.name} returned shape {replaced.shape}, but "
                f"the gradient has shape {entry.shape}. Return a Tensor of that shape, "
                "or None to leave the gradient as it is."
            )
        g = replaced if isinstance(g, Tensor) else replaced.array
    return g
