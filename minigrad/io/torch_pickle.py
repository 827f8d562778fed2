"""A pickle machine that only knows the opcodes and names of state dicts.

It is Python's own unpickler with a shorter table of opcodes. This one imports nothing
and calls nothing but its owner's functions: a name in the file is looked up in a table,
and a name that is not there ends the reading.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

SCALARS = (str, int, float, bool, bytes, type(None))
SIZED = (list, tuple, dict, str, bytes)

# What a pickle makes may be as deep, and have as many items, counted again wherever
# something is shared: a few bytes can stand for a list that nobody can walk through.
DEEPEST = 100
MOST_ITEMS = 10_000_000

# How many items, for each byte that was read, all calls together may be given: a call
# copies its list, and a pickle that gives one long list to many would take for ever.
ITEMS_A_BYTE = 8

DAMAGED = (AttributeError, EOFError, IndexError, pickle.UnpicklingError, struct.error)

# Opcodes that do what they do in every pickle.
_NAMES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 "
    "BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES "
    "BINBYTES8 BINSTRING SHORT_BINSTRING EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET "
    "TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS BINPUT LONG_BINPUT MEMOIZE BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL BINPERSID"
)
PLAIN = [getattr(pickle, name)[0] for name in _NAMES.split()]


class Source(Protocol):
    """What a pickle is read from: a mapped file or bytes, never a file as it is.

    A file would set memory aside for as many bytes as a damaged pickle asks for.
    """

    def read(self, count: int, /) -> bytes:
        """Give at most so many of the next bytes."""

    def readline(self) -> bytes:
        """Give the bytes up to the end of the line."""


class _Counted:
    """A source that gives all the bytes that are asked for, and counts them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0

    def read(self, count: int) -> bytes:
        return self._counted(self.source.read(count), count)

    def readline(self) -> bytes:
        return self._counted(self.source.readline(), 0)

    def _counted(self, data: bytes, least: int) -> bytes:
        if len(data) < least:
            raise EOFError(f"it asks for {least} bytes where only {len(data)} are left")
        self.count += len(data)
        return data


class _Steps(dict[int, Callable[[Any], None]]):
    """What each opcode does; none but these is for data."""

    def __missing__(self, code: int) -> Any:
        opcode = bytes([code])
        raise ValueError(f"the pickle's opcode {opcode!r} is not one of those for data")


class Machine(pickle._Unpickler):
    """An unpickler of plain containers and of what `names` has: functions and values.

    `persistent` gives what a reference of the file stands for.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None = None
    ) -> None:
        self.names = names
        self.persistent = persistent
        self.given = 0  # items that calls were given

    def run(self, file: Source) -> Any:
        """Read one pickle from where the file stands, and give the object it makes.

        Raises: ValueError for everything that is damaged or not known.
        """
        self.source = _Counted(file)
        super().__init__(self.source, encoding="latin1")
        try:
            return self.load()
        except DAMAGED as error:
            raise ValueError(f"the pickle is damaged: {error}") from error

    def top(self, kind: type) -> Any:
        """The uppermost value, which has to be of a kind."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"the pickle adds to something that is no {kind.__name__}")
        return self.stack[-1]

    def build(self, state: Any) -> None:
        """Give what lies on the stack a state: a dictionary has no use for one.

        State dictionaries carry attributes so, which are no data of ours. A reader of
        other objects than PyTorch's overrides this.
        """
        self.top(dict)

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the file stands for, if it is one of the known."""
        text = f"{module} {name}"
        if text not in self.names:
            raise ValueError(
                f"it needs {f'{module}.{name}'!r}, and reading refuses every name but "
                "those of tensors and plain containers, because a file could name any "
                "function to be called"
            )
        return self.names[text]

    def persistent_load(self, pid: Any) -> Any:
        """What a reference stands for."""
        if self.persistent is None:
            raise ValueError("it refers to data where there is none")
        return self.persistent(pid)

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple or not callable(function):
            raise ValueError("it calls what is no function here")
        self.given += sum(len(a) for a in arguments if isinstance(a, SIZED))
        if self.given > ITEMS_A_BYTE * self.source.count:
            raise ValueError("it gives the same items to calls again and again")
        try:
            self.append(function(*arguments))
        except TypeError as error:
            raise ValueError(f"a call in it has wrong arguments: {error}") from error

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[_key(key)] = value

    def _set_items(self) -> None:
        values = self.pop_mark()
        if len(values) % 2:
            raise ValueError("a key without a value is in it")
        pairs = zip(map(_key, values[::2]), values[1::2], strict=True)
        self.top(dict).update(pairs)

    def _add_items(self) -> None:
        values = [_key(value) for value in self.pop_mark()]
        self.top(set).update(values)

    dispatch = _Steps(
        {
            **{code: pickle._Unpickler.dispatch[code] for code in PLAIN},
            pickle.REDUCE[0]: _call,
            pickle.BUILD[0]: lambda self: self.build(self.stack.pop()),
            pickle.SETITEM[0]: _set_item,
            pickle.SETITEMS[0]: _set_items,
            pickle.ADDITEMS[0]: _add_items,
        }
    )


def _key(key: Any) -> Any:
    """A key whose hash is cheap: nested tuples could take for ever."""
    items = key if type(key) is tuple else (key,)
    if not all(type(item) in SCALARS for item in items):
        raise ValueError(f"a {type(key).__name__} is the key of a dictionary in it")
    return key


# -- how large it is ---------------------------------------------------------------


def require_data(value: Any) -> None:
    """Raise if what a pickle made is endless, too deep, too large, or holds functions.

    Every container is looked at once.
    """
    _extent(value, 0, {})


def _extent(
    value: Any, above: int, known: dict[int, tuple[int, int] | None]
) -> tuple[int, int]:
    """How deep a value is, and how many items are inside, all in all."""
    if callable(value):
        raise ValueError(f"it holds {value.__name__!r} itself, which is no data")
    items: Collection[Any] = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list | tuple) or not items:
        return 0, 1
    if id(value) not in known:
        known[id(value)] = None
        _require_shallow(above)
        inner = [_extent(item, above + 1, known) for item in items]
        depth, count = 1 + max(d for d, _ in inner), sum(n for _, n in inner)
        _require_shallow(depth)
        if count > MOST_ITEMS:
            raise ValueError(
                f"it has more than {MOST_ITEMS:,} items, shared ones repeated"
            )
        known[id(value)] = depth, count
    extent = known[id(value)]
    if extent is None:
        raise ValueError("something in it holds itself")
    return extent


def _require_shallow(depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
