"""Replay: a program becomes one Python function, which runs without a tape."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.backend import as_result
from minigrad.compiler.buffers import Memory, Plan, Planner
from minigrad.compiler.choice import forward_of
from minigrad.compiler.lowering import lowering_of, part_of
from minigrad.compiler.program import Instruction, Operand, Program
from minigrad.tape import record_write
from minigrad.tape.record import EXPLAINED


class Writer:
    """Writes the function line by line, and collects the objects that it names."""

    def __init__(self, program: Program, planner: Planner, plan: Plan) -> None:
        self.program = program
        self.planner = planner
        self.plan = plan
        self.names: dict[str, Any] = {"as_result": as_result, "wrote": record_write}
        self.known: dict[tuple[str, int], str] = {}
        self.lines: list[str] = []

    def name_of(self, prefix: str, thing: Any) -> str:
        """A name under which the function finds an object."""
        prefix = prefix if prefix.isidentifier() else "f"  # such as <lambda>
        key = prefix, id(thing)
        if key not in self.known:
            name = f"{prefix}{len(self.names)}"
            self.names[name] = thing
            self.known[key] = name
        return self.known[key]

    def operand(self, x: Operand) -> str:
        """An operand as an expression."""
        if isinstance(x, int):
            planned = self.plan.arrays.get(x)
            return f"v{x}" if planned is None else self.name_of("b", planned)
        plain = type(x.value) in (int, bool)
        return repr(x.value) if plain else self.name_of("c", x.value)

    def settings(self, settings: dict[str, Any]) -> list[str]:
        """Settings as keyword arguments."""
        return [f"{key}={self.name_of('s', x)}" for key, x in settings.items()]

    def call(self, instruction: Instruction) -> None:
        """The lines of an instruction; none where its results are views made before."""
        gives = instruction.gives
        planned = bool(gives) and all(x in self.plan.arrays for x in gives)
        if not planned:
            self._call(instruction)
        elif not any(x is not None for x in instruction.shares):
            self._fill(instruction)

    def _fill(self, instruction: Instruction) -> None:
        """Write into the array that was planned for the result."""
        out = self.operand(instruction.gives[0])
        lowering = lowering_of(self.program, instruction)
        if lowering is not None:
            operands = [self.operand(x) for x in instruction.operands]
            self.lines += lowering.lines(self.name_of, operands, out)
            return
        whole = self.plan.arrays[instruction.gives[0]]
        sizes = self.planner.sizes(instruction)
        for i, part in enumerate(instruction.reads):
            if self.planner.home.get(part) != (instruction.gives[0], i):
                target = self.name_of("b", part_of(instruction, whole, sizes, i))
                self.lines.append(
                    f"{self.name_of('np_', np.copyto)}({target}, {self.operand(part)})"
                )

    def _call(self, instruction: Instruction) -> None:
        primitive = instruction.primitive
        operands = [self.operand(x) for x in instruction.operands]
        given = [f"[{', '.join(operands)}]"] if primitive.sequence else operands
        forward = self.name_of(
            f"{primitive.name}_", forward_of(self.program, instruction)
        )
        arguments = [*given, *self.settings(instruction.settings)]
        call = f"{forward}({', '.join(arguments)})"
        if primitive.many:
            names = "".join(f"{_target(x)}, " for x in instruction.results)
            self.lines.append(f"{names}= {call}")
        elif instruction.results:
            y, *residuals = instruction.results
            scalar = y is not None and not self.program.values[y].shape
            self.lines.append(
                f"{_target(y)} = {f'as_result({call})' if scalar else call}"
            )
            self._residuals(instruction, operands, residuals)
        else:
            self.lines.append(call)
        for x in primitive.written(instruction.operands):
            self.lines.append(f"wrote({self.operand(x)}, {primitive.name!r})")

    def _residuals(
        self, instruction: Instruction, operands: list[str], wanted: Sequence[Any]
    ) -> None:
        primitive = instruction.primitive
        known = dict(zip(primitive.operand_names, operands, strict=False))
        known |= {"y": _target(instruction.results[0])}
        if primitive.sequence:
            known[primitive.operand_names[0]] = f"[{', '.join(operands)}]"
        rules = primitive.residuals.values()
        for rule, number in zip(rules, wanted, strict=False):
            if number is None:
                continue
            names = inspect.signature(rule).parameters
            given = [
                known.get(name) or self.name_of("s", instruction.settings[name])
                for name in names
            ]
            call = f"{self.name_of('r', rule)}({', '.join(given)})"
            self.lines.append(f"{_target(number)} = {call}")

    def forget(self, numbers: Sequence[int]) -> None:
        """Let go of values that are not used any more."""
        own = [f"v{n}" for n in numbers if n not in self.plan.arrays]
        if own:
            self.lines.append(" = ".join([*own, "None"]))


def _target(number: int | None) -> str:
    return "_" if number is None else f"v{number}"


class Replay:
    """A program as a function of its inputs' arrays that gives its outputs' arrays.

    Raises:
        ValueError, IndexError, ...: as the operation does, with the user's line.
    """

    def __init__(self, program: Program, memory: Memory) -> None:
        self.program = program
        self.planner = Planner(program, memory)
        self.plan = self.planner.plan()
        self.places: list[int] = []  # of the instruction that each line belongs to
        self.seconds: list[float] = []  # of each instruction, once they were measured
        self._run = self._function()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run all instructions."""
        try:
            return self._run(*arrays)
        except EXPLAINED as error:
            self._explain(error)
            raise

    def measure(self, *arrays: Any) -> tuple[Any, ...]:
        """Run all instructions, and note the seconds that each takes."""
        self.seconds = [0.0] * len(self.program.body)
        return self._function(self.seconds)(*arrays)

    def text(self, seconds: list[float] | None = None) -> tuple[str, dict[str, Any]]:
        """The function's text, and the objects that it names."""
        writer = Writer(self.program, self.planner, self.plan)
        ends: dict[int, list[int]] = {}
        for number, place in self.program.last_uses().items():
            ends.setdefault(place, []).append(number)
        self.places = [-1]
        for place, instruction in enumerate(self.program.body):
            if seconds is not None:
                writer.lines.append("started = clock()")
            writer.call(instruction)
            if seconds is not None:
                writer.lines.append(f"seconds[{place}] = clock() - started")
            writer.forget(ends.get(place, []))
            self.places += [place] * (1 + len(writer.lines) - len(self.places))
        inputs = ", ".join(f"v{number}" for number in self.program.inputs)
        outputs = "".join(f"v{number}, " for number in self.program.outputs)
        lines = [f"def run({inputs}):", *writer.lines, f"return ({outputs})"]
        return "\n    ".join(lines) + "\n", writer.names

    def _function(self, seconds: list[float] | None = None) -> Callable[..., Any]:
        text, names = self.text(seconds)
        names |= {"clock": perf_counter, "seconds": seconds}
        exec(compile(text, FILE, "exec"), names)
        return names["run"]

    def _explain(self, error: Exception) -> None:
        """Add the operation and the user's line to an error."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == FILE]
        place = self.places[(lines[0] or 1) - 1] if lines else -1
        if place < 0:
            return
        instruction = self.program.body[place]
        error.add_note(f"in {instruction.primitive.name}, {instruction.line}")


FILE = "<compiled step>"
