"""Primitives: a forward function, its gradient rules, and what those need kept.

Nothing here knows any calculus: a rule's parameter names say what it reads, and this
file turns the names into what the tape keeps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from minigrad.tape.pending import Pending

Rule = Callable[..., Any]
Read = tuple[str, Any]  # what kind of thing a rule reads, and which


class Call(NamedTuple):
    """One call of a primitive: what went in, and all that came out.

    Entries of the tape are made of it, observers are shown it, and it can be replayed.
    """

    primitive: Primitive
    operands: Sequence[Any]  # arrays and numbers
    settings: dict[str, Any]
    results: Sequence[Any]  # the outputs, then the residuals (None where not wanted)


class Vjp(NamedTuple):
    """A gradient rule: the vector-Jacobian product by one operand, or by all."""

    rule: Rule
    reads: tuple[Read, ...]
    apply: Callable[[Any, Any], Any]  # (gradient, entry) -> gradient of the operand

    def reads_operand(self, i: int) -> bool:
        """Whether the rule reads operand `i`, by itself or among the variadic ones."""
        return ("operand", i) in self.reads or any(
            kind == "rest" and i >= start for kind, start in self.reads
        )

    def reads_result(self, i: int) -> bool:
        """Whether the rule reads the output (0) or a residual (1, 2, ...)."""
        return ("result", i) in self.reads


@dataclass(frozen=True, eq=False)
class Primitive:
    """An operation that the tape can record: forward, rules, and facts about them.

    Args:
        forward: arrays to array; positional arguments are operands, keyword-only
            ones are static settings.
        rules: one rule an operand (None: no gradient); a rule's parameter names say
            what the tape keeps for it: `g` the gradient of the output, `y` the output,
            an operand's name, `a_shape` for its shape alone, a residual's or a
            setting's name.
        joint: instead of `rules`, one rule that returns all operands' gradients.
        sequence: the operands come as one list (concatenate, stack).
        many: the forward returns a list of outputs (split, unstack).
        part: (whole, i, **settings) -> the view of the whole that output i is.
        unbroadcast: sums a gradient down to an operand's shape after broadcasting.
        residuals: for a name that rules may read, what is computed of the output,
            operands and settings (its parameters say of which) in the call, and kept
            in their stead: `y > 0` takes a quarter of y. Rules see it as a constant, so
            it must be piecewise constant.
        scatter: for an operand of which only a part is used: (whole, g, ...) adds the
            gradient to `whole`, an array of the operand's shape, in place. T slices of
            one whole then cost O(T).
        factors: for an operand whose gradient is a matrix product: (g, ...) -> (left,
            right), where left.T @ right is the gradient. The products of a weight that
            is used T times can then be deferred, and become one.
        writes: the names of operands that the forward changes in place (an optimiser's
            update). Each write is stamped, so that backward notices a stale read.
        advances: the names of operands that hold a state which the forward advances,
            and which no rule can have kept (a generator's).
        domain: for an operand's name the open interval (low, high) where the forward
            is defined and smooth; a name that is missing stands for all numbers.
        closed: for an operand's name the ends of its domain that belong to it: the
            gradient there is the derivative from inside, which may be infinite.
        kinks: for an operand's name the values where the derivative jumps or there is
            none: numbers, names of settings, or names of operands whose equal
            values are ties (its own name: its elements among themselves); for "y"
            values of the output. Each with the derivative that the rule gives there: a
            number, "shared" (all that tie have the same part), "first" (the first of
            them has all), or None at a pole. `{"a": {0: 0}}` is relu's.
    """

    forward: Callable[..., Any]
    rules: tuple[Rule | None, ...] = ()
    joint: Rule | None = None
    sequence: bool = False
    many: bool = False
    part: Callable[..., Any] | None = None
    unbroadcast: Callable[..., Any] | None = None
    residuals: Mapping[str, Rule] = field(default_factory=dict)
    scatter: Mapping[str, Rule] = field(default_factory=dict)
    factors: Mapping[str, Rule] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    advances: tuple[str, ...] = ()
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    closed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kinks: Mapping[str, Any] = field(default_factory=dict)

    # -- the forward's signature ---------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The forward's name, as messages and pictures show it."""
        return self.forward.__name__

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.forward).parameters.values())

    def _named(self, kind: Any) -> list[str]:
        return [p.name for p in self._parameters if p.kind is kind]

    @cached_property
    def operand_names(self) -> list[str]:
        """The operands before the variadic ones."""
        return self._named(inspect.Parameter.POSITIONAL_OR_KEYWORD)

    @cached_property
    def rest_name(self) -> str | None:
        """The name of the variadic operands."""
        return next(iter(self._named(inspect.Parameter.VAR_POSITIONAL)), None)

    @cached_property
    def setting_names(self) -> list[str]:
        """The settings, in their order."""
        return self._named(inspect.Parameter.KEYWORD_ONLY)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of settings that have one."""
        return {
            p.name: p.default
            for p in self._parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
        }

    @cached_property
    def operand_count(self) -> int:
        """How many operands there are where nothing else can be given; -1 elsewhere."""
        fixed = not (self.setting_names or self.sequence or self.rest_name)
        return len(self.operand_names) if fixed else -1

    def written(self, operands: Sequence[Any]) -> list[Any]:
        """The operands that the forward changes in place."""
        return self._of(self.writes, operands)

    def changed(self, operands: Sequence[Any]) -> list[Any]:
        """Those that it writes to, and the states that it advances."""
        return self._of((*self.writes, *self.advances), operands)

    def _of(self, chosen: tuple[str, ...], operands: Sequence[Any]) -> list[Any]:
        names = self.operand_names
        rest = operands[len(names) :] if self.rest_name in chosen else ()
        given = zip(names, operands, strict=False)
        return [*(x for name, x in given if name in chosen), *rest]

    # -- the rules -----------------------------------------------------------------

    @cached_property
    def vjps(self) -> tuple[Vjp | None, ...]:
        """The rules with what they read, one an operand."""
        return tuple(rule and _vjp(self, rule, i) for i, rule in enumerate(self.rules))

    @cached_property
    def joint_vjp(self) -> Vjp | None:
        """The rule for all operands with what it reads."""
        return self.joint and _vjp(self, self.joint, None)

    @cached_property
    def applies(self) -> tuple[Any, ...]:
        """The rules as functions of (gradient, entry)."""
        return tuple(vjp and vjp.apply for vjp in self.vjps)

    @cached_property
    def additions(self) -> tuple[Any, ...] | None:
        """For each operand a cheaper way to add its gradient to what is pending.

        Functions of (pending, gradient, entry) that say whether they have added it, or
        None where there is no such way.
        """
        found: dict[str, Any] = {}
        for name, rule in self.scatter.items():
            found[name] = _scattering(rule, _getters(_reads(self, rule, given=2)))
        for name, rule in self.factors.items():
            found[name] = _deferring(rule, _getters(_reads(self, rule)))
        return tuple(map(found.get, self.operand_names)) if found else None

    def differentiable(self, index: int) -> bool:
        """Whether operand `index` has a gradient rule."""
        if self.joint is not None:
            return True
        return index < len(self.rules) and self.rules[index] is not None

    # -- what the tape keeps -------------------------------------------------------

    @cached_property
    def _keeps(self) -> dict[tuple[bool, ...], tuple[tuple[bool, ...], ...]]:
        return {}

    def keep(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], ...]:
        """Which operands, and which results, are kept: two tuples of booleans.

        `needs` says which operands need gradients.
        """
        if needs not in self._keeps:
            vjps = [
                vjp for vjp, need in zip(self.vjps, needs, strict=False) if vjp and need
            ]
            vjps = [self.joint_vjp] if self.joint_vjp else vjps
            operands = tuple(
                any(vjp.reads_operand(i) for vjp in vjps) for i in range(len(needs))
            )
            results = tuple(
                any(vjp.reads_result(i) for vjp in vjps)
                for i in range(1 + len(self.residuals))
            )
            self._keeps[needs] = operands, results
        return self._keeps[needs]

    @cached_property
    def kept_of_one(self) -> tuple[bool, bool]:
        """Whether the operand and the output are kept, where there is one of each."""
        (operand,), (output,) = self.keep((True,))
        return operand, output

    @cached_property
    def kept_of_two(self) -> tuple[Any, ...]:
        """The same for two operands: where both, the left, or the right need one."""
        found = (
            self.keep(needs) for needs in ((True, True), (True, False), (False, True))
        )
        return tuple((*operands, output) for operands, (output,) in found)

    def run_residuals(
        self,
        wanted: Sequence[bool],
        operands: Sequence[Any],
        y: Any,
        settings: Mapping[str, Any],
    ) -> list[Any]:
        """The residuals of one call, None for those that are not wanted."""
        given = [operands] if self.sequence else operands
        known = {
            **settings,
            **dict(zip(self.operand_names, given, strict=False)),
            "y": y,
        }
        pairs = zip(self._residuals, wanted, strict=True)
        return [
            residual(*map(known.get, names)) if is_wanted else None
            for (residual, names), is_wanted in pairs
        ]

    @cached_property
    def _residuals(self) -> list[tuple[Rule, list[str]]]:
        """Each residual's function, and the names of what it is computed of."""
        functions = self.residuals.values()
        return [(f, list(inspect.signature(f).parameters)) for f in functions]

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


# -- reading a rule's signature ----------------------------------------------------


def _vjp(primitive: Primitive, rule: Rule, own: int | None) -> Vjp:
    reads = _reads(primitive, rule, own)
    return Vjp(rule, reads, _applied(rule, _getters(reads)))


def _reads(
    primitive: Primitive, rule: Rule, own: int | None = None, given: int = 1
) -> tuple[Read, ...]:
    """What a rule names after the `given` first parameters: that is what is kept."""
    names = list(inspect.signature(rule).parameters)[given:]
    return tuple(_read(primitive, name, own) for name in names)


def _read(primitive: Primitive, name: str, own: int | None) -> Read:
    operands, residuals = primitive.operand_names, list(primitive.residuals)
    if name == "y":
        return "result", 0
    if name in residuals:
        return "result", 1 + residuals.index(name)
    if name in primitive.setting_names:
        return "setting", name
    if name in operands and not primitive.sequence:
        return "operand", operands.index(name)
    if own is not None and name == f"{operands[own]}_shape":
        return "shape", own
    if name == primitive.rest_name:
        return "rest", len(operands)
    raise TypeError(
        f"the rule of {primitive.name!r} names {name!r}, which is neither an operand "
        f"{operands}, nor a setting {primitive.setting_names}, nor a residual "
        f"{residuals}, nor 'y', nor the operand's shape such as 'a_shape'. Rename the "
        "rule's parameter."
    )


Getter = Callable[[Any], Any]  # of an entry
_GETTERS: dict[str, Callable[[Any], Getter]] = {
    "operand": lambda i: lambda entry: entry.operands[i],
    "rest": lambda i: lambda entry: entry.operands[i:],
    "result": lambda i: lambda entry: entry.results[i],
    "shape": lambda i: lambda entry: entry.parents[i].shape,
    "setting": lambda name: lambda entry: entry.settings[name],
}


def _getters(reads: Sequence[Read]) -> list[Getter]:
    return [_GETTERS[kind](which) for kind, which in reads]


def _applied(rule: Rule, getters: list[Getter]) -> Callable[[Any, Any], Any]:
    """The rule as a function of (gradient, entry)."""
    if not getters:
        return lambda g, entry: rule(g)
    if len(getters) == 1:
        (get,) = getters
        return lambda g, entry: rule(g, get(entry))
    return lambda g, entry: rule(g, *[get(entry) for get in getters])


def _scattering(rule: Rule, getters: list[Getter]) -> Callable[..., bool]:
    def add(pending: Pending, g: Any, entry: Any) -> bool:
        if g.dtype != pending.entry.dtype:
            return False
        rule(pending.whole(g), g, *[get(entry) for get in getters])
        return True

    return add


def _deferring(rule: Rule, getters: list[Getter]) -> Callable[..., bool]:
    def add(pending: Pending, g: Any, entry: Any) -> bool:
        return pending.defer(*rule(g, *[get(entry) for get in getters]))

    return add
