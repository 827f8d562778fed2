"""Does minigrad compute, step by step, what the installed PyTorch computes?"""

import pytest

from tests.interop import cases, minigrad_side


@pytest.mark.parametrize(("group", "name"), cases.ALL)
def test_both_sides_agree(group, name, torch_side):
    ours = cases.run(minigrad_side, group, name)
    cases.compare(ours, cases.run(torch_side, group, name))


@pytest.mark.parametrize(
    "table", ["LAYERS", "LOSSES", "OPTIMIZERS", "SCHEDULES", "FUNCTIONS"]
)
def test_both_sides_have_the_same_tables(table, torch_side):
    assert list(getattr(minigrad_side, table)) == list(getattr(torch_side, table))
