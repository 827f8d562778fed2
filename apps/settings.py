"""Settings of an app, each declared once: a field of a dataclass.

The declaration gives the option on the command line (`options`), the check of what an
option, Python or a run's `config.json` says, and the words of `--help` and of reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType
from typing import Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

from apps.limits import Range, shown

# What a setting without a range may be, in words.
CALLED = {str: "a text that can name a file", bool: "true or false", NoneType: "null"}


class Setting(NamedTuple):
    """One setting as it was declared: see `setting`."""

    name: str
    kind: Any
    help: str
    default: Any
    of: Range | None
    told: str
    option: bool
    heeded: Mapping[str, tuple[str, ...]]

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts to choose from, if it is one of several."""
        kinds = (self.kind, *get_args(self.kind))
        return next((get_args(k) for k in kinds if get_origin(k) is Literal), ())

    def has_effect(self, beside: Mapping[str, Any]) -> bool:
        """Whether the settings beside it let it have one."""
        return all(
            beside[name] in values
            for name, values in self.heeded.items()
            if name in beside
        )

    @property
    def inner(self) -> type[Settings] | None:
        """The kind of settings that it holds, if it holds settings."""
        kind = self.kind
        return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def setting(
    help: str,
    default: Any = MISSING,
    of: Range | None = None,
    *,
    told: str = "",
    option: bool = True,
    **heeded: tuple[str, ...],
) -> Any:
    """Declare a field of `Settings`: what it means, its default, the numbers allowed.

    `told` is what help calls the default, if not its value; `option=False` keeps it
    from the command line. With `how=("beam",)` it has an effect only with `--how beam`.
    """
    more = {"help": help, "of": of, "told": told, "option": option, "heeded": heeded}
    return field(default=default, metadata=more)


def settings_of(kind: type[Settings]) -> Iterator[Setting]:
    """Everything that was declared, in order."""
    hints = get_type_hints(kind)
    for of in fields(kind):
        yield Setting(of.name, hints[of.name], default=of.default, **of.metadata)


@dataclass(frozen=True)
class Settings:
    """Settings that are as declared. Raises: ValueError that names all that are not."""

    def __post_init__(self) -> None:
        _require(vars(self), type(self))

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Make settings of what JSON has, inner ones too. Raises: ValueError."""
        _require(config, cls)
        inner = {of.name: of.inner for of in settings_of(cls) if of.inner}
        made = {name: kind.read(config[name]) for name, kind in inner.items()}
        return cls(**{**config, **made})


def _require(values: Mapping[str, Any], kind: type[Settings]) -> None:
    if problems := [*_misfits(values, kind)]:
        raise ValueError("; ".join(problems))


def _misfits(values: Mapping[str, Any], kind: type[Settings]) -> Iterator[str]:
    declared = {s.name: s for s in settings_of(kind)}
    yield from (f"{name!r:.60} is unknown" for name in values if name not in declared)
    for name, of in declared.items():
        if name not in values:
            yield f"{name!r} is missing"
        elif of.inner and isinstance(values[name], dict):
            yield from (f"{name}: {p}" for p in _misfits(values[name], of.inner))
        elif not _fits(values[name], of.kind, of.of):
            found = shown(values[name])
            yield f"{name} is {found}, but must be {_called(of.kind, of.of)}"


def _fits(value: Any, kind: Any, of: Range | None) -> bool:
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return any(value == allowed for allowed in parts)
    if parts:
        return any(_fits(value, part, of) for part in parts)
    if of is not None and kind is not NoneType:
        return value in of
    return isinstance(value, kind) and (kind is not str or _can_name_a_file(value))


def _can_name_a_file(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _called(kind: Any, of: Range | None) -> str:
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if parts:
        return " or ".join(_called(part, of) for part in parts)
    if of is not None and kind is not NoneType:
        return str(of)
    return CALLED.get(kind, "settings in braces")
