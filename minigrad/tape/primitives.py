"""What is a primitive?  A forward, its gradient rules, and what they need kept.

Nothing here knows any calculus: a rule's parameter names say what it reads, and this
file turns the names into what the tape keeps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Pull(NamedTuple):
    """A gradient rule, and what it reads: names of operands, "y", shapes, settings."""

    rule: Callable[..., Any]
    operands: frozenset[int]
    rest: int | None  # the rule names the variadic operands, from this one on
    output: bool
    apply: Callable[[Any, Any], Any]  # (gradient, entry) -> gradient of the operand
    reads: int  # READS_NOTHING, READS_OUTPUT, READS_MORE, or the one operand's number

    def names(self, operand: int | None) -> bool:
        """Whether the rule reads this operand (None: the output)."""
        if operand is None:
            return self.output
        return operand in self.operands or (
            self.rest is not None and operand >= self.rest
        )


READS_NOTHING, READS_OUTPUT, READS_MORE = -1, -2, -3


class Primitive:
    """An operation that the tape can record: forward, rules, and facts about them.

    Args:
        forward: arrays to array; positional arguments are operands, keyword-only
            ones are static settings.
        rules: one rule an operand (None: no gradient); a rule's parameter names say
            what the tape keeps for it: `g` the cotangent, `y` the output, an
            operand's name, `a_shape` for its shape alone, or a setting's name.
        joint: instead of `rules`, one rule that returns all operands' gradients.
        sequence: the operands come as one list (concatenate, stack).
        many: the forward returns a list of outputs (split, unstack).
        part: (whole, i, settings) -> the view of the whole that output i is.
        fit: sums a gradient down to an operand's shape after broadcasting.
        into: (pending, which, g, entry) -> whether it added the gradient by operand
            `which` to what is pending for it (perhaps nothing yet), in a cheaper way
            than by making the whole gradient: T slices then cost O(T).
        marks: for a name that rules may have, what is made of the output, operands and
            settings when the entry is written (its parameters say of which), and kept
            in their stead: `y > 0` takes a quarter of y. Rules see it as a constant, so
            it must be piecewise constant.
        domain: for an operand's name the open interval (low, high) where the forward
            is defined and smooth; a name that is missing stands for all numbers.
        kinks: for an operand's name the values where the slope jumps or there is
            none: numbers, names of settings, or names of operands whose equal
            values are ties (its own name: its elements among themselves).
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        rules: Sequence[Callable[..., Any] | None],
        joint: Callable[..., Any] | None = None,
        sequence: bool = False,
        many: bool = False,
        part: Callable[..., Any] | None = None,
        fit: Callable[..., Any] | None = None,
        into: Callable[..., Any] | None = None,
        marks: Mapping[str, Callable[..., Any]] | None = None,
        domain: Mapping[str, tuple[float, float]] | None = None,
        kinks: Mapping[str, tuple[float | str, ...]] | None = None,
    ) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.rules = tuple(rules)
        self.joint_rule = joint
        self.sequence = sequence
        self.many = many
        self.part = part
        self.fit = fit
        self.into = into
        self.marks = dict(marks or {})
        self.domain = dict(domain or {})
        self.kinks = dict(kinks or {})
        self._read_signature()
        self._check_names()
        self._check_rules()
        self._check_facts()
        self.pulls = tuple(self._pull(rule, i) for i, rule in enumerate(self.rules))
        self.joint = self._pull(joint, None)
        self.applies = tuple(pull and pull.apply for pull in self.pulls)
        self.quick = tuple(_quick(pull) for pull in self.pulls)
        self.simple = joint is None and into is None and not many
        self.keeps: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}
        self.call: Callable[..., Any] = forward  # the function that records

    def _read_signature(self) -> None:
        parameters = inspect.signature(self.forward).parameters.values()
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        static = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self.rest_name = rest[0] if rest else None
        self.operand_names = [p.name for p in positional]
        self.setting_names = [p.name for p in static]
        self.defaults = {p.name: p.default for p in static if p.default is not p.empty}

    def _check_names(self) -> None:
        """A name with two meanings would be a gradient silently wrong."""
        names = [*self.operand_names, *self.setting_names, *self.marks]
        names += [self.rest_name] if self.rest_name else []
        shapes = {f"{name}_shape" for name in self.operand_names}
        taken = {"y", "g", "shapes"} | shapes
        twice = {name for name in names if names.count(name) > 1}
        if twice or taken & set(names):
            raise TypeError(
                f"primitive {self.name!r} has operands, settings or marks called "
                f"{sorted(twice | (taken & set(names)))}: in rules 'y' stands for the "
                "output, 'g' for its gradient, 'shapes' and 'a_shape' for operands' "
                "shapes, and a name for one thing. Call them something else."
            )

    def _check_rules(self) -> None:
        """A forgotten rule would be a gradient silently lost."""
        if self.rules and len(self.rules) != len(self.operand_names):
            raise TypeError(
                f"primitive {self.name!r} has {len(self.rules)} rules for its operands "
                f"{self.operand_names}: each operand needs one. Add the missing rules, "
                "or None for an operand without gradient."
            )

    def _check_facts(self) -> None:
        """A misspelt name would be a fact silently lost."""
        if self.marks and (self.sequence or self.rest_name or self.many):
            raise TypeError(
                f"primitive {self.name!r} has marks, which go with a fixed number of "
                "operands and one output. Let its rules name the operands instead."
            )
        known = {*self.operand_names, *self.setting_names}
        named = {*self.domain, *self.kinks}
        for values in self.kinks.values():
            named.update(value for value in values if isinstance(value, str))
        if named - known:
            raise TypeError(
                f"domain or kinks of primitive {self.name!r} name "
                f"{sorted(named - known)}: it has operands {self.operand_names} and "
                f"settings {self.setting_names}. Name one of these."
            )

    def _pull(self, rule: Callable[..., Any] | None, own: int | None) -> Pull | None:
        """Read a rule's signature: what it names is what the tape keeps."""
        if rule is None:
            return None
        names = list(inspect.signature(rule).parameters)[1:]
        reads = [self._source(name, own) for name in names]
        operands = frozenset(i for kind, i in reads if kind == "operand")
        rest = next((i for kind, i in reads if kind == "rest"), None)
        output = any(kind == "output" for kind, _ in reads)
        apply = _applier(rule, reads, names)
        return Pull(rule, operands, rest, output, apply, _form(reads))

    def _source(self, name: str, own: int | None) -> tuple[str, Any]:
        if name == "y":
            return "output", None
        if name in self.setting_names:
            return "setting", name
        if name in self.operand_names:
            return "operand", self.operand_names.index(name)
        if name in self.marks:
            return "operand", len(self.operand_names) + list(self.marks).index(name)
        if own is not None and name == f"{self.operand_names[own]}_shape":
            return "shape", own
        if name == self.rest_name:
            return "rest", len(self.operand_names)
        if name == "shapes" and self.sequence:
            return "setting", name
        raise TypeError(
            f"the rule of {self.name!r} names {name!r}, which is neither an operand "
            f"{self.operand_names}, nor a setting {self.setting_names}, nor a mark, "
            "nor 'y', nor an operand's shape such as 'a_shape'. Rename the rule's "
            "parameter."
        )

    def keep(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which operands (then marks), and whether the output, are kept.

        `needs` says which operands need gradients.
        """
        if needs not in self.keeps:
            pulls = [self.joint] if self.joint else self.pulls
            live = [
                pull
                for i, pull in enumerate(pulls)
                if pull and (self.joint or (i < len(needs) and needs[i]))
            ]
            places = range(len(needs) + len(self.marks))
            flags = tuple(any(p.names(i) for p in live) for i in places)
            self.keeps[needs] = flags, any(pull.output for pull in live)
        return self.keeps[needs]

    def marked(
        self, arrays: Sequence[Any], y: Any, settings: Mapping[str, Any]
    ) -> list[Any]:
        """What the marks say of one call."""
        known = {**settings, **dict(zip(self.operand_names, arrays, strict=True))}
        known["y"] = y
        return [
            mark(**{name: known[name] for name in inspect.signature(mark).parameters})
            for mark in self.marks.values()
        ]

    def differentiable(self, index: int) -> bool:
        """Whether operand `index` has a gradient rule."""
        if self.joint is not None:
            return True
        return index < len(self.pulls) and self.pulls[index] is not None

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _form(reads: list[tuple[str, Any]]) -> int:
    """The common forms of reading, which the walk serves without an applier."""
    if not reads:
        return READS_NOTHING
    kind, what = reads[0]
    if len(reads) > 1 or kind not in ("output", "operand"):
        return READS_MORE
    return READS_OUTPUT if kind == "output" else what


def _applier(
    rule: Callable[..., Any], reads: list[tuple[str, Any]], names: list[str]
) -> Callable[[Any, Any], Any]:
    """`rule` as a function of (gradient, entry)."""
    getters = [
        (name, _GETTERS[kind], what)
        for name, (kind, what) in zip(names, reads, strict=True)
    ]
    return lambda g, entry: rule(
        g, **{name: get(entry, what) for name, get, what in getters}
    )


def _quick(pull: Pull | None) -> tuple[int, Any]:
    """How the walk calls a rule without an applier between: (what it reads, rule).

    READS_NOTHING, READS_OUTPUT, an operand's number, or READS_MORE with the applier.
    """
    if pull is None:
        return READS_NOTHING, None
    return pull.reads, pull.apply if pull.reads == READS_MORE else pull.rule


_GETTERS: dict[str, Callable[[Any, Any], Any]] = {
    "operand": lambda entry, i: entry.operands[i],
    "output": lambda entry, _: entry.output,
    "setting": lambda entry, name: entry.settings[name],
    "shape": lambda entry, i: entry.parents[i].shape,
    "rest": lambda entry, i: entry.operands[i:],
}
