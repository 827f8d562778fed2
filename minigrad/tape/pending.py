"""What an entry has received in a backward pass, and the two ways to add cheaply.

A whole of which T parts are used would receive T arrays of its size, nearly all zeros:
the parts are added in place instead (`whole`, `fill`). A weight that is used T times
would receive T products: they are deferred, and become one (`defer`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Array, as_result, is_array


class Pending:
    """The gradient of one entry, as far as it has come in."""

    __slots__ = ("deferred", "entry", "gradient", "owned")

    def __init__(self, entry: Any, gradient: Any = None, owned: bool = False) -> None:
        self.entry = entry
        self.gradient = gradient  # also a list, of the gradients of several outputs
        self.owned = owned  # nobody else holds that array: it may be added to
        self.deferred: Products | None = None

    def add(self, gradient: Any, owned: bool) -> None:
        """Add a contribution; only into an array that nobody else may hold."""
        if self.gradient is None:
            self.gradient, self.owned = gradient, owned
        elif self.owned:
            self.gradient += gradient
        else:
            self.gradient = self.gradient + gradient
            self.owned = is_array(self.gradient)  # of a Tensor nothing may change

    def total(self) -> Any:
        """The sum of all that has come in."""
        if self.deferred is not None:
            self.gradient, self.owned = self.deferred.total(self.gradient), True
            self.deferred = None
        return self.gradient

    def whole(self, like: Array) -> Array:
        """An array of the entry's shape that may be added to."""
        if self.gradient is None:
            self.gradient = _zeros(self.entry.shape, self.entry.dtype, like)
        elif not self.owned:
            self.gradient = as_result(self.gradient).copy()
        self.gradient, self.owned = as_result(self.gradient), True
        return self.gradient

    def fill(self, i: int, gradient: Any, in_place: bool) -> None:
        """Take the gradient of output `i` of an entry that has several."""
        primitive = self.entry.primitive
        if self.gradient is None:
            in_place = in_place and primitive is not None and primitive.part is not None
            self.gradient = self._parts(gradient) if in_place else self._empty()
            self.owned = True
        if isinstance(self.gradient, list):
            self.gradient[i] = gradient
        else:
            primitive.part(self.gradient, i, **self.entry.settings)[...] = gradient

    def _empty(self) -> list[Any]:
        return [None] * len(self.entry.shape)

    def _parts(self, like: Any) -> Array:
        """Zeros for the whole that was split: each part's gradient has its place."""
        return _zeros(self.entry.parents[0].shape, self.entry.dtype, like)

    def defer(self, left: Array, right: Array) -> bool:
        """Put the product left.T @ right off, where what waits is small beside it.

        A weight that is used once gains nothing by waiting, so the first product waits
        only if its factors have a quarter of its size at most.
        """
        if not left.ndim == right.ndim == 2 or right.dtype != self.entry.dtype:
            return False
        size = left.shape[1] * right.shape[1]
        first = self.gradient is None and self.deferred is None
        if first and 4 * (left.size + right.size) > size:
            return False
        self.deferred = self.deferred or Products()
        self.deferred.add(left, right)
        if self.deferred.size >= size:
            self.total()
        return True


def _zeros(shape: tuple[int, ...], dtype: Any, like: Any) -> Array:
    return np.zeros(shape, dtype, like=as_result(like))


class Products:
    """Deferred products of one weight's gradient, as few large ones.

    A sum of products is the product of the factors joined: X.T @ G. One product over
    all time steps takes about half the time of T small ones and their additions. What
    waits is never larger than the gradient itself.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Array, Array]] = []
        self.size = 0

    def add(self, left: Array, right: Array) -> None:
        """Defer one product."""
        self.pairs.append((left, right))
        self.size += left.size + right.size

    def total(self, gradient: Array | None) -> Array:
        """`gradient` and all deferred products."""
        left = np.concatenate([a for a, _ in self.pairs])
        right = np.concatenate([g for _, g in self.pairs])
        total = left.T @ right
        if gradient is not None:
            total += gradient
        return total
