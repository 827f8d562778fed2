"""Is every wrong rule of every primitive caught?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import GradientError, check_gradients
from tests.support import mutations
from tests.support.cases import OURS, PRIMITIVES
from tests.support.mutations import (
    CAUGHT,
    MISSED,
    MUTATIONS,
    Mutation,
    changed,
    outcome,
    text_of,
)

EXAMPLES = 50  # as many as the profile `ci` gives the checks themselves
CELLS = [
    pytest.param(name, mutation, id=f"{name}-{mutation.name}")
    for name in PRIMITIVES
    for mutation in MUTATIONS
    if mutation.variants(OURS[name].primitive)
]


@pytest.mark.parametrize(("name", "mutation"), CELLS)
def test_a_wrong_rule_is_caught(name, mutation):
    assert outcome(OURS[name].primitive, mutation, EXAMPLES) == CAUGHT


def test_every_rule_has_its_mutations():
    """No primitive is left out, and none has less than what applies to all."""
    names = [cell.values[0] for cell in CELLS]
    assert set(names) == set(PRIMITIVES)
    assert min(names.count(name) for name in PRIMITIVES) >= 5
    assert len(CELLS) >= 570


def test_an_unchanged_rule_is_missed():
    """The table can fail: what is not wrong is not caught."""
    same = Mutation("same", lambda made: [changed(made)])
    for name in ("tanh", "matmul", "gather", "split"):
        assert outcome(OURS[name].primitive, same, 20) == MISSED


def test_a_primitive_is_itself_again():
    made = mg.tanh.primitive
    with changed(made, rules=[lambda g: g]), pytest.raises(GradientError):
        check_gradients(mg.tanh, np.array([0.5]))
    assert mg.tanh.primitive is made
    check_gradients(mg.tanh, np.array([0.5]))


def test_the_table_counts():
    rows = {"one": {m.name: CAUGHT for m in MUTATIONS}}
    rows["two"] = {m.name: "" for m in MUTATIONS} | {"zero": MISSED}
    lines = list(text_of(rows))
    assert lines[2].startswith("| one | caught |")
    assert lines[3].startswith("| two | MISSED |")
    assert lines[-1].startswith(
        f"{len(MUTATIONS)} of {len(MUTATIONS) + 1} mutations of 2"
    )


@pytest.mark.parametrize(("cell", "status"), [(CAUGHT, 0), (MISSED, 1)])
def test_the_command_fails_where_one_is_missed(monkeypatch, capsys, cell, status):
    rows = {"one": {m.name: cell for m in MUTATIONS}}
    monkeypatch.setattr(mutations, "table", lambda: rows)
    assert mutations.main() == status
    assert "| one |" in capsys.readouterr().out
