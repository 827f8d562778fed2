"""Random numbers: explicit generators and one default.

Numbers are drawn by NumPy on the host, so the same seed gives the same numbers on
every device.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

Shape = int | tuple[int, ...]


class Watch(threading.local):
    """Who wants to know which generators are drawn from, in this thread."""

    def __init__(self) -> None:
        self.watchers: list[dict[Generator, dict[str, Any]]] = []


watch = Watch()


@contextlib.contextmanager
def watch_draws() -> Iterator[dict[Generator, dict[str, Any]]]:
    """Collect the generators drawn from inside, with their states before that."""
    seen: dict[Generator, dict[str, Any]] = {}
    watch.watchers.append(seen)
    try:
        yield seen
    finally:
        del watch.watchers[-1]


class Generator:
    """A seeded stream of random arrays, whose state can be saved and restored."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed(seed)

    def _drawn_from(self) -> np.random.Generator:
        for seen in watch.watchers:
            if self not in seen:
                seen[self] = self.get_state()
        return self._stream

    def seed(self, seed: int | None) -> None:
        """Start again from `seed` (None: from the operating system's entropy).

        Raises:
            ValueError: the seed is no whole number, or a negative one.
        """
        try:
            self._stream = np.random.Generator(np.random.PCG64(seed))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"cannot draw from the seed {seed!r}: {str(error).rstrip('.')}. Give a "
                "whole number, 0 or more."
            ) from error

    def normal(self, shape: Shape = (), dtype: Any = "float32") -> np.ndarray:
        """Draw from the standard normal distribution."""
        dtype = np.dtype(dtype)
        draw = np.float64 if dtype == np.float64 else np.float32
        return np.asarray(self._drawn_from().standard_normal(shape, draw)).astype(
            dtype, copy=False
        )

    def uniform(
        self,
        shape: Shape = (),
        dtype: Any = "float32",
        low: float = 0.0,
        high: float = 1.0,
    ) -> np.ndarray:
        """Draw uniformly from [low, high)."""
        dtype = np.dtype(dtype)
        draw = np.float64 if dtype == np.float64 else np.float32
        result: Any = self._drawn_from().random(shape, draw)
        if (low, high) != (0.0, 1.0):
            result = low + (high - low) * result
        result = np.asarray(result).astype(dtype, copy=False)
        # Rounding to fewer digits may reach the upper end, which is excluded.
        return np.minimum(result, np.nextafter(dtype.type(high), dtype.type(low)))

    def integers(self, low: int, high: int, shape: Shape = ()) -> np.ndarray:
        """Draw integers uniformly from low, ..., high - 1."""
        return np.asarray(self._drawn_from().integers(low, high, shape))

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0, ..., n - 1 in random order."""
        return self._drawn_from().permutation(n)

    def get_state(self) -> dict[str, Any]:
        """The state as plain data that JSON can hold."""
        return json.loads(json.dumps(self._stream.bit_generator.state))

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` returned.

        Raises:
            ValueError: the state is not one of this generator's.
        """
        try:
            self._stream.bit_generator.state = state
        except (
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
            AttributeError,
        ) as error:
            raise ValueError(
                f"this is not a generator's state: {error}. Pass what get_state() "
                "returned."
            ) from error


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it."""
    default_generator.seed(seed)
    return default_generator


def generator_of(given: Generator | None) -> Generator:
    """The generator that was given, or the default one.

    Raises:
        TypeError: it is none of minigrad's.
    """
    if given is None:
        return default_generator
    if not isinstance(given, Generator):
        raise TypeError(
            f"generator= got a {type(given).__module__}.{type(given).__name__}, not a "
            "minigrad Generator: its state could not be saved with a run, or its "
            "numbers drawn again. Give minigrad.Generator(seed), or None for the "
            "default one."
        )
    return given
