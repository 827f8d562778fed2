"""Errors that the user can mend: those that commands show as one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class UserError(Exception):
    """A mistake that the user can mend; each argument is a line that says how."""

    def __str__(self) -> str:
        """All lines."""
        return "\n".join(map(str, self.args))


def first(bad: np.ndarray) -> int | None:
    """The first row that is bad, for a message; None if there is none. Shapes: (N,)."""
    return int(bad.argmax()) if bad.any() else None
