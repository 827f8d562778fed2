"""What a function reads from around it: the names of its closure and of its module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

Guard = tuple[Callable[[], Any], Any]
ABSENT = object()


def guards_of(function: Any) -> list[Guard]:
    """Conditions under which the names that a function uses mean what they mean now.

    Those of the function itself; what it calls may use others.
    """
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    readers = [functools.partial(_in_cell, cell) for cell in cells.values()]
    names = [name for name in code.co_names if name in function.__globals__]
    readers += [functools.partial(function.__globals__.get, name) for name in names]
    return [guard for read in readers for guard in _guard(read)]


def _in_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def _guard(read: Callable[[], Any]) -> list[Guard]:
    """Numbers and texts are compared by value, other objects by identity."""
    value = read()
    if isinstance(value, ModuleType):
        return []
    if isinstance(value, bool | int | float | str):
        return [(lambda: (type(read()), read()), (type(value), value))]
    return [(lambda: read() is value, True)]
