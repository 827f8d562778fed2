"""Random numbers: explicit, counter-based generators and one default.

Draw number n of a seed is a function of the two alone (Philox4x64-10 with the seed's
key, counting from block n * 2**128): a GPU can compute each number by itself. Here
NumPy draws on the host, so the same seed gives the same numbers on every device.

Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

Shape = int | tuple[int, ...]


class Watch(threading.local):
    """Who wants to know which generators are drawn from, in this thread."""

    def __init__(self) -> None:
        self.watchers: list[dict[Generator, dict[str, Any]]] = []
        self.held = ""  # why no generator may be seeded now


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


@contextlib.contextmanager
def seeds_held(why: str) -> Iterator[None]:
    """Refuse inside to seed a generator, and to draw what no primitive draws."""
    before, watch.held = watch.held, why
    try:
        yield
    finally:
        watch.held = before


def _check_held() -> None:
    if watch.held:
        raise RuntimeError(watch.held)


KIND = "philox4x64-10"
_counting = threading.Lock()


def next_draw(state: np.ndarray) -> np.random.Generator:
    """The numbers of the next draw from a state (2 words of key, number of draws)."""
    with _counting:
        number = int(state[2])
        state[2] += 1
    bits = np.random.Philox(key=state[:2], counter=[0, 0, number, 0])
    return np.random.Generator(bits)


class Generator:
    """A seeded stream of random arrays, whose state can be saved and restored."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed(seed)

    def drawn_from(self) -> np.ndarray:
        """The state, for one draw: who watches is told."""
        for seen in watch.watchers:
            if self not in seen:
                seen[self] = self.get_state()
        return self._state

    def _next(self) -> np.random.Generator:
        _check_held()
        return next_draw(self.drawn_from())

    def seed(self, seed: int | None) -> None:
        """Start again from `seed` (None: from the operating system's entropy).

        Raises:
            ValueError: the seed is no whole number, or a negative one.
        """
        _check_held()
        try:
            key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"cannot draw from the seed {seed!r}: {str(error).rstrip('.')}. Give a "
                "whole number, 0 or more."
            ) from error
        self._state = np.array([*key, 0], np.uint64)

    def normal(self, shape: Shape = (), dtype: Any = "float32") -> np.ndarray:
        """Draw from the standard normal distribution."""
        dtype = np.dtype(dtype)
        draw = np.float64 if dtype == np.float64 else np.float32
        return np.asarray(self._next().standard_normal(shape, draw)).astype(
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
        result: Any = self._next().random(shape, draw)
        if (low, high) != (0.0, 1.0):
            result = low + (high - low) * result
        result = np.asarray(result).astype(dtype, copy=False)
        # Rounding to fewer digits may reach the upper end, which is excluded.
        return np.minimum(result, np.nextafter(dtype.type(high), dtype.type(low)))

    def integers(self, low: int, high: int, shape: Shape = ()) -> np.ndarray:
        """Draw integers uniformly from low, ..., high - 1."""
        return np.asarray(self._next().integers(low, high, shape))

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0, ..., n - 1 in random order."""
        return self._next().permutation(n)

    def get_state(self) -> dict[str, Any]:
        """The state as plain data that JSON can hold."""
        *key, draws = self._state.tolist()
        return {"generator": KIND, "key": key, "draws": draws}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` returned.

        Raises:
            ValueError: the state is not one of this generator's.
        """
        _check_held()
        try:
            words = [*state["key"], state["draws"]]
            known = state["generator"] == KIND and len(words) == 3
            array = np.array(words, np.uint64)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise _no_state(state, repr(error)) from error
        if not (known and all(type(word) is int for word in words)):
            raise _no_state(state, f"it does not hold the words of {KIND}")
        self._state = array


def _no_state(state: Any, why: str) -> ValueError:
    if isinstance(state, dict) and state.get("bit_generator") == "PCG64":
        why = "it is of PCG64, from which an earlier version drew"
    return ValueError(
        f"this is not a generator's state: {why}. Pass what get_state() returned, or "
        "start from a seed: all else that was saved is still good."
    )


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
