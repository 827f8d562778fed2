"""A pickle machine that only knows the opcodes and names of state dicts.

Python's own unpickler imports what a file names and calls it. This one never imports
and calls nothing but its owner's functions: a name in the file is looked up in a table,
and a name that is not there ends the reading. `pickletools` only says what the opcodes
are called and how their arguments are written.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
SCALARS = (str, int, float, bool, bytes, type(None))
NEWEST = 5  # protocol

# What a pickle makes may be as deep, and have as many items, counted again wherever
# something is shared: a few bytes can stand for a list that nobody can walk through.
DEEPEST = 100
MOST_ITEMS = 10_000_000

# How many items, for each opcode, all calls together may be given, besides the letters
# of texts: a call copies its list, and a pickle that gives one long list to many calls
# would take for ever.
ITEMS_A_STEP = 8

SIZED = (list, tuple, dict, str, bytes)


class Source(Protocol):
    """What a pickle is read from: a mapped file or bytes, never a file as it is.

    A file would set memory aside for as many bytes as a damaged pickle asks for.
    """

    def read(self, count: int, /) -> bytes:
        """Give at most so many of the next bytes."""

    def readline(self) -> bytes:
        """Give the bytes up to the end of the line."""


class Name:
    """What a global name in a file stands for here: a function, or a plain value."""

    def __init__(self, text: str, meaning: Any) -> None:
        self.text = text
        self.meaning = meaning


class Machine:
    """A stack, marks on it, and a memo: what the opcodes of a pickle work on."""

    def __init__(
        self, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None
    ) -> None:
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.work = 0  # items and letters that calls may still be given

    def run(self, file: Source) -> Any:
        """Read one pickle from where the file stands, and give the object it makes.

        Raises: ValueError for everything that is damaged or not known.
        """
        while True:
            opcode = self.opcode(file)
            self.work += ITEMS_A_STEP
            if opcode.name == "STOP":
                return _value(self.pop())
            # A refused opcode's argument is not even read.
            argument = _argument(opcode, file)
            self.work += len(argument) if isinstance(argument, str | bytes) else 0
            STEPS[opcode.name](self, argument)

    def opcode(self, file: Source) -> pickletools.OpcodeInfo:
        """The next opcode, if it is one of the known."""
        code = file.read(1)
        if not code:
            raise ValueError("the pickle ends too early")
        opcode = OPCODES.get(code)
        if opcode is None or not (opcode.name in STEPS or opcode.name == "STOP"):
            name = repr(code) if opcode is None else opcode.name
            raise ValueError(f"the pickle's opcode {name} is not one of those for data")
        return opcode

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the uppermost value from the stack."""
        if not self.stack:
            raise ValueError("the pickle takes more from its stack than it put there")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Take everything above the last mark from the stack."""
        if not self.marks:
            raise ValueError("the pickle goes back to a mark that it did not set")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return [_value(value) for value in values]

    def top(self, kind: type) -> Any:
        """The uppermost value, which has to be of a kind."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"the pickle adds to something that is no {kind.__name__}")
        return self.stack[-1]

    def build(self, state: Any) -> None:
        """Give what lies on the stack a state: a dictionary has no use for one.

        State dictionaries carry attributes so, which are no data of ours. A reader of
        other objects than PyTorch's overrides this.
        """
        self.top(dict)

    def find(self, text: str) -> Name:
        """What a name of the file stands for, if it is one of the known."""
        if text not in self.names:
            raise ValueError(
                f"it needs {text.replace(' ', '.')!r}, and reading refuses every name "
                "but those of tensors and plain containers, because a file could name "
                "any function to be called"
            )
        return Name(text, self.names[text])


def _argument(opcode: pickletools.OpcodeInfo, file: Any) -> Any:
    """What follows an opcode in the file; None after most."""
    if opcode.name == "GLOBAL":
        # Two lines as they are: pickletools would undo escapes that pickle has not.
        return f"{_line(file)} {_line(file)}"
    return opcode.arg.reader(file) if opcode.arg else None


def _line(file: Source) -> str:
    return file.readline().removesuffix(b"\n").decode()


# -- how large it is ---------------------------------------------------------------


def require_walkable(value: Any) -> None:
    """Raise if what a pickle made is endless, or too deep or large to walk through.

    Every container is looked at once, after what it holds, without recursion.
    """
    extents: dict[int, tuple[int, int]] = {}
    begun: set[int] = set()
    pending = [(value, False)]
    while pending:
        container, is_walked = pending.pop()
        if is_walked:
            extents[id(container)] = _extent(_items(container), extents)
        elif id(container) not in extents:
            if id(container) in begun:
                raise ValueError("something in it holds itself")
            begun.add(id(container))
            _require_shallow(len(begun) - len(extents))
            pending.append((container, True))
            pending += [(i, False) for i in _items(container) if _items(i)]


def _require_shallow(depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")


def _items(value: Any) -> Collection[Any]:
    """What a container holds; nothing where it is none."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _extent(
    items: Collection[Any], extents: Mapping[int, tuple[int, int]]
) -> tuple[int, int]:
    """How deep a container is, and how many items are inside, all in all."""
    inner = [extents.get(id(item), (0, 1)) for item in items]
    depth = 1 + max((depth for depth, _ in inner), default=0)
    count = sum(count for _, count in inner)
    _require_shallow(depth)
    if count > MOST_ITEMS:
        raise ValueError(f"it has more than {MOST_ITEMS:,} items, shared ones repeated")
    return depth, count


# -- what the opcodes do -----------------------------------------------------------


def _value(value: Any) -> Any:
    """A value that may go into a container: a function by itself is none."""
    if isinstance(value, Name):
        if callable(value.meaning):
            raise ValueError(f"it holds {value.text!r} itself, which is no data")
        return value.meaning
    return value


def _key(value: Any) -> Any:
    """A key whose hash is cheap: nested tuples could take for ever."""
    value = _value(value)
    items = value if type(value) is tuple else (value,)
    if not all(type(item) in SCALARS for item in items):
        raise ValueError(f"a {type(value).__name__} is the key of a dictionary in it")
    return value


def _protocol(machine: Machine, version: int) -> None:
    if version > NEWEST:
        raise ValueError(f"its pickle protocol {version} is not known")


def _set_mark(machine: Machine, _: Any) -> None:
    machine.marks.append(len(machine.stack))


def _tuple(machine: Machine, _: Any) -> None:
    machine.push(tuple(machine.pop_to_mark()))


def _tuple_of(count: int) -> Callable[[Machine, Any], None]:
    def step(machine: Machine, _: Any) -> None:
        values = [_value(machine.pop()) for _ in range(count)]
        machine.push(tuple(reversed(values)))

    return step


def _append(machine: Machine, _: Any) -> None:
    value = _value(machine.pop())
    machine.top(list).append(value)


def _appends(machine: Machine, _: Any) -> None:
    values = machine.pop_to_mark()
    machine.top(list).extend(values)


def _set_item(machine: Machine, _: Any) -> None:
    value = _value(machine.pop())
    key = _key(machine.pop())
    machine.top(dict)[key] = value


def _set_items(machine: Machine, _: Any) -> None:
    values = machine.pop_to_mark()
    if len(values) % 2:
        raise ValueError("a key without a value is in it")
    pairs = zip(map(_key, values[::2]), values[1::2], strict=True)
    machine.top(dict).update(pairs)


def _add_items(machine: Machine, _: Any) -> None:
    values = [_key(value) for value in machine.pop_to_mark()]
    machine.top(set).update(values)


def _put(machine: Machine, number: int) -> None:
    if not machine.stack:
        raise ValueError("the pickle remembers something that is not there")
    machine.memo[number] = machine.stack[-1]


def _memoize(machine: Machine, _: Any) -> None:
    _put(machine, len(machine.memo))


def _get(machine: Machine, number: int) -> None:
    if number not in machine.memo:
        raise ValueError("the pickle recalls something that it did not remember")
    machine.push(machine.memo[number])


def _global(machine: Machine, text: str) -> None:
    machine.push(machine.find(text))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("it names something with what is no text")
    machine.push(machine.find(f"{module} {name}"))


def _reduce(machine: Machine, _: Any) -> None:
    arguments, name = machine.pop(), machine.pop()
    if type(arguments) is not tuple or type(name) is not Name:
        raise ValueError("it calls what is no function")
    if not callable(name.meaning):
        raise ValueError(f"it calls {name.text!r}, which is no function here")
    machine.work -= sum(len(a) for a in arguments if isinstance(a, SIZED))
    if machine.work < 0:
        raise ValueError("it gives the same items to calls again and again")
    try:
        machine.push(name.meaning(*arguments))
    except TypeError as error:
        raise ValueError(f"{name.text!r} has wrong arguments: {error}") from error


def _build(machine: Machine, _: Any) -> None:
    machine.build(machine.pop())


def _persistent(machine: Machine, _: Any) -> None:
    if machine.persistent is None:
        raise ValueError("it refers to data where there is none")
    machine.push(machine.persistent(machine.pop()))


def _constant(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.push(make())


def _nothing(machine: Machine, _: Any) -> None:
    """A frame only says how much to read at once."""


_ARGUMENTS = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BINSTRING SHORT_BINSTRING"
)

STEPS: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(_ARGUMENTS.split(), Machine.push),
    "PROTO": _protocol,
    "FRAME": _nothing,
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_SET": _constant(set),
    "MARK": _set_mark,
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "ADDITEMS": _add_items,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _memoize,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _persistent,
}
