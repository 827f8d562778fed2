"""Buffers: where the arrays of a program lie, planned before it runs.

A program's shapes are known, so are the first and the last use of each value: memory is
taken once and used again by values that do not live at the same time. Parts that are
joined later are computed where they will lie, so that joining copies nothing; views of
planned memory are made once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any

import numpy as np

from minigrad.compiler.lowering import STACK, is_join, lowering_of, part_of
from minigrad.compiler.program import Instruction, Literal, Program

ALIGNMENT = 64  # bytes: a line of the cache


@dataclass
class Buffer:
    """Memory of one value, from the instruction that fills it first to the last use."""

    root: int
    first: int
    last: int
    nbytes: int
    slot: int = -1


@dataclass
class Plan:
    """Which values have an array of their own for all runs."""

    arrays: dict[int, np.ndarray] = field(default_factory=dict)
    nbytes: int = 0


class Memory:
    """Memory that all programs of one step share, for they run one after the other."""

    GROWTH = 1.5  # so that programs that grow take a small multiple of the largest

    def __init__(self) -> None:
        self.block = np.empty(0, np.uint8)

    def take(self, sizes: list[int]) -> list[np.ndarray]:
        """Pieces of these sizes, each at the start of a line of the cache."""
        starts = list(accumulate(map(_rounded, sizes), initial=0))
        if starts[-1] > self.block.size:
            grown = int(self.GROWTH * self.block.size)
            self.block = _aligned(max(starts[-1], grown))
        return [self.block[s : s + n] for s, n in zip(starts, sizes, strict=False)]


class Planner:
    """Plans the memory of one program."""

    def __init__(self, program: Program, memory: Memory) -> None:
        self.program = program
        self.memory = memory
        self.roots = program.roots()
        self.places = {
            number: place
            for place, instruction in enumerate(program.body)
            for number in instruction.gives
        }
        self.uses = Counter(n for i in program.body for n in i.reads)
        kept = {self.roots[n] for n in program.outputs}
        self.planned = {
            i.gives[0]
            for i in program.body
            if (lowering_of(program, i) or is_join(program, i))
            and self.roots[i.gives[0]] not in kept
        }
        self.home: dict[int, tuple[int, int]] = {}  # value -> the join it lies in

    def plan(self) -> Plan:
        """Choose places, take the memory, and make the arrays."""
        self._place_parts()
        buffers = self._buffers()
        sizes = self._assign(buffers)
        slots = self.memory.take(sizes)
        plan = Plan(nbytes=sum(sizes))
        for buffer in buffers:
            value = self.program.values[buffer.root]
            memory = slots[buffer.slot][: buffer.nbytes]
            plan.arrays[buffer.root] = memory.view(value.dtype).reshape(value.shape)
        self._make_parts(plan)
        self._make_views(plan)
        return plan

    # -- parts of joins ------------------------------------------------------------

    def _place_parts(self) -> None:
        """Let the parts of a join lie in it, where nobody else minds their strides."""
        for instruction in reversed(self.program.body):
            joined = instruction.gives[:1]
            if not joined or joined[0] not in self.planned:
                continue
            if is_join(self.program, instruction):
                for i, part in enumerate(instruction.reads):
                    if self._may_lie(part, instruction):
                        self.home[part] = joined[0], i

    def _may_lie(self, part: int, join: Instruction) -> bool:
        if part not in self.planned or part in self.home:
            return False
        if join.reads.count(part) > 1:
            return False
        return self.uses[part] == 1 or self._keeps_strides(part, join)

    def _keeps_strides(self, part: int, join: Instruction) -> bool:
        """Whether a part of the join is as contiguous as the value by itself."""
        axis = join.settings.get("axis", 0)
        shape = self.program.values[join.gives[0]].shape
        return all(length == 1 for length in shape[: axis % len(shape)])

    def _make_parts(self, plan: Plan) -> None:
        """The arrays of parts, those of outer joins first."""
        for number in sorted(self.home, key=lambda n: -self.places[self.home[n][0]]):
            whole, i = self.home[number]
            join = self.program.body[self.places[whole]]
            plan.arrays[number] = part_of(join, plan.arrays[whole], self.sizes(join), i)

    def sizes(self, join: Instruction) -> list[int]:
        """The lengths of a join's operands along its axis."""
        if join.primitive is STACK:
            return [1] * len(join.reads)
        axis = join.settings.get("axis", 0)
        return [self.program.values[x].shape[axis] for x in join.reads]

    # -- lifetimes -----------------------------------------------------------------

    def _buffers(self) -> list[Buffer]:
        """The buffers that are needed, in the order in which they are filled."""
        found: dict[int, Buffer] = {}
        last = self._last_uses()
        for number, root in self.roots.items():
            if root not in self.planned:
                continue
            home = self._home_of(root)
            first, end = self.places[root], last[number]
            buffer = found.get(home)
            if buffer is None:
                nbytes = self.program.values[home].nbytes
                found[home] = Buffer(home, first, end, nbytes)
            else:
                buffer.first = min(buffer.first, first)
                buffer.last = max(buffer.last, end)
        return sorted(found.values(), key=lambda buffer: buffer.first)

    def _last_uses(self) -> dict[int, int]:
        """The last use of each value, or of what may be the same array."""
        last = self.program.last_uses()
        for instruction in reversed(self.program.body):
            if not _is_ours(instruction):
                end = max((last[n] for n in instruction.gives), default=0)
                last |= {n: max(last[n], end) for n in instruction.reads}
        return last

    def _home_of(self, root: int) -> int:
        while root in self.home:
            root = self.home[root][0]
        return root

    # -- slots ---------------------------------------------------------------------

    def _assign(self, buffers: list[Buffer]) -> list[int]:
        """Give each buffer a slot; slots are used again. Returns their sizes."""
        sizes: list[int] = []
        free: list[int] = []
        living: dict[int, Buffer] = {}  # by root
        ends: list[tuple[int, int]] = []  # a heap of (last use, root)
        for buffer in buffers:
            while ends and ends[0][0] < buffer.first:
                ended = living.pop(heappop(ends)[1], None)
                if ended is not None:
                    free.append(ended.slot)
            replaced = self._replaced(buffer, living)
            if replaced is not None:
                buffer.slot = living.pop(replaced.root).slot
            else:
                buffer.slot = _fitting(buffer.nbytes, sizes, free)
            living[buffer.root] = buffer
            heappush(ends, (buffer.last, buffer.root))
        return sizes

    def _replaced(self, buffer: Buffer, living: dict[int, Buffer]) -> Buffer | None:
        """An operand that ends where the buffer begins, and may be overwritten."""
        instruction = self.program.body[buffer.first]
        lowering = lowering_of(self.program, instruction)
        if lowering is None or not lowering.in_place:
            return None
        if buffer.root != instruction.gives[0]:
            return None
        value = self.program.values[buffer.root]
        for x in instruction.reads:
            found = living.get(x)
            ends_here = found is not None and found.last == buffer.first
            if ends_here and self.program.values[x] == value:
                return found
        return None

    # -- views ---------------------------------------------------------------------

    def _make_views(self, plan: Plan) -> None:
        """Views of planned arrays are made now, and checked to be views."""
        for instruction in self.program.body:
            if not any(x is not None for x in instruction.shares):
                continue
            if _is_ours(instruction):
                found = list(_results(instruction, plan))
                pairs = [(n, a) for n, a in found if n is not None]
                if pairs and all(_is_view(a, instruction, plan) for _, a in pairs):
                    plan.arrays.update(pairs)


def _results(instruction: Instruction, plan: Plan) -> Iterator[tuple[int | None, Any]]:
    operands = [
        x.value if isinstance(x, Literal) else plan.arrays.get(x)
        for x in instruction.operands
    ]
    if instruction.has_effect or any(x is None for x in operands):
        return
    given = [operands] if instruction.primitive.sequence else operands
    found = instruction.primitive.forward(*given, **instruction.settings)
    results = found if instruction.primitive.many else [found]
    if len(results) == len(instruction.results):
        yield from zip(instruction.results, results, strict=True)


def _is_ours(instruction: Instruction) -> bool:
    """Whether only the layout says what a call shares; others may look at values."""
    return instruction.primitive.forward.__module__.startswith("minigrad.")


def _is_view(array: Any, instruction: Instruction, plan: Plan) -> bool:
    shared = {x for x in instruction.shares if x is not None}
    return any(np.may_share_memory(array, plan.arrays[x]) for x in shared)


def _fitting(nbytes: int, sizes: list[int], free: list[int]) -> int:
    """The smallest free slot that is large enough, but not far too large, or a new."""
    fitting = [slot for slot in free if nbytes <= sizes[slot] <= 2 * nbytes]
    if fitting:
        slot = min(fitting, key=lambda slot: sizes[slot])
        free.remove(slot)
        return slot
    sizes.append(nbytes)
    return len(sizes) - 1


def _rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _aligned(nbytes: int) -> np.ndarray:
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + nbytes]
