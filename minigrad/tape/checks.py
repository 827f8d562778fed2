"""Checks of a primitive's declaration: what is misspelt would be lost in silence."""

from __future__ import annotations

import inspect

from minigrad.tape.primitives import Primitive


def check(primitive: Primitive) -> None:
    """Refuse a declaration that is not whole.

    Raises:
        TypeError: names with two meanings or none, rules that are missing.
    """
    _check_forward(primitive)
    _check_names(primitive)
    _check_rules(primitive)
    _check_facts(primitive)
    _check_ends(primitive)


def _check_forward(primitive: Primitive) -> None:
    forward = primitive.forward
    if not inspect.isfunction(forward):
        raise TypeError(
            f"a primitive's forward is a function whose parameters name its operands, "
            f"not {forward!r}. Wrap it, as in `def exp(a): return np.exp(a)`."
        )


def _check_names(primitive: Primitive) -> None:
    """A name with two meanings would be a gradient silently wrong."""
    names = [*primitive.operand_names, *primitive.setting_names, *primitive.residuals]
    names += [primitive.rest_name] if primitive.rest_name else []
    taken = {"y", "g"} | {f"{name}_shape" for name in primitive.operand_names}
    wrong = {name for name in names if names.count(name) > 1 or name in taken}
    if wrong:
        raise TypeError(
            f"primitive {primitive.name!r} has operands, settings or residuals called "
            f"{sorted(wrong)}: in rules 'y' stands for the output, 'g' for its "
            "gradient, 'a_shape' for the shape of operand 'a', and a name for one "
            "thing. Call them something else."
        )


def _check_rules(primitive: Primitive) -> None:
    """A forgotten rule would be a gradient silently lost."""
    rules, operands = primitive.rules, primitive.operand_names
    if rules and len(rules) != len(operands):
        raise TypeError(
            f"primitive {primitive.name!r} has {len(rules)} rules for its operands "
            f"{operands}: each operand needs one. Add the missing rules, or None for "
            "an operand without gradient."
        )
    # Reading the rules refuses names that do not exist.
    _ = primitive.vjps, primitive.joint_vjp, primitive.additions


def _check_facts(primitive: Primitive) -> None:
    """A misspelt name would be a fact silently lost."""
    if primitive.residuals and (primitive.rest_name or primitive.many):
        raise TypeError(
            f"primitive {primitive.name!r} has residuals, which go with one output and "
            "operands that have names. Let its rules name the operands instead."
        )
    known = {*primitive.operand_names, *primitive.setting_names}
    facts = (primitive.domain, primitive.closed, primitive.kinks)
    named = {name for fact in facts for name in fact} - {"y"}
    named |= {*primitive.scatter, *primitive.factors}
    named |= {*primitive.writes, *primitive.advances} - {primitive.rest_name}
    for values in primitive.kinks.values():
        named.update(value for value in values if isinstance(value, str))
    if named - known:
        raise TypeError(
            f"domain, kinks or the like of primitive {primitive.name!r} name "
            f"{sorted(named - known)}: it has operands {primitive.operand_names} and "
            f"settings {primitive.setting_names}. Name one of these."
        )


def _check_ends(primitive: Primitive) -> None:
    for name, ends in primitive.closed.items():
        if not {*ends} <= {*primitive.domain.get(name, ())}:
            raise TypeError(
                f"primitive {primitive.name!r} says closed={{{name!r}: {ends}}}, but "
                f"its domain is {primitive.domain.get(name)}: only an end of the "
                "domain can belong to it. Write for example domain={'a': (0, inf)}, "
                "closed={'a': (0,)}."
            )
