"""Does the comparison with PyTorch's samples notice what it should, and hold for some?

All samples take minutes: `make opinfo`. Here stand those of some operators, modules and
optimisers, and what the list of differences must refuse.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import nn
from tests.interop.opinfo import listing
from tests.interop.opinfo.listing import Listing, Place, Reason

HERE = Path(__file__).parent

LISTED = """\
# A comment.

# No counterpart here:

acos acosh

[abs]
ran | float64 5, float32 4
convention | gradient | float64 float32 | 0-2 | at NaN
not offered | left out | float64 | 4 | complex numbers
precision | value | float32 | 3 | rounded

[add]
ran | float64 2
"""

TIE = Reason("?", "gradient", "?")


@pytest.fixture(scope="module")
def running(torch):
    """What runs samples, where PyTorch's test utilities are installed."""
    pytest.importorskip("expecttest", reason="expecttest: pip install -e '.[interop]'")
    return importlib.import_module("tests.interop.opinfo.running")


def found(**changes) -> Listing:
    """What a run finds where all stands as it is listed, but for some changes."""
    return listing.read(LISTED)._replace(**changes)


def problems_of(run: Listing) -> str:
    listed = listing.read(LISTED)
    return "\n".join(listing.problems(listing.merged(run, listed), listed))


# -- the list ----------------------------------------------------------------------


def test_a_list_is_written_as_it_was_read():
    text = listing.write(listing.read(LISTED))
    assert text.endswith(LISTED.partition("\n\n")[2])
    assert listing.write(listing.read(text)) == text


def test_the_committed_list_is_as_it_would_be_written():
    text = listing.PATH.read_text(encoding="utf-8")
    assert listing.write(listing.read(text)) == text


def test_all_as_listed_is_no_problem():
    assert problems_of(found()) == ""


def test_a_new_difference_fails_with_the_line_to_fill_in():
    known = found().known | {Place("add", "float64", 1): TIE}
    assert "? | gradient | float64 | 1 | ?" in problems_of(found(known=known))


def test_another_difference_of_a_listed_sample_fails():
    known = found().known | {Place("abs", "float64", 1): TIE._replace(what="value")}
    assert "? | value | float64 | 1 | ?" in problems_of(found(known=known))


@pytest.mark.parametrize("number", [2, 4])
def test_a_difference_that_is_mended_fails(number):
    known = dict(found().known)
    del known[Place("abs", "float64", number)]
    assert "[abs] is listed with what is no" in problems_of(found(known=known))


def test_rounding_may_be_another_on_another_machine():
    known = dict(found().known)
    del known[Place("abs", "float32", 3)]
    assert problems_of(found(known=known)) == ""


@pytest.mark.parametrize("count", [3, 1, None])
def test_a_sample_more_or_less_fails(count):
    runs = {key: n for key, n in found().runs.items() if key[0] != "add"}
    runs |= {} if count is None else {("add", "float64"): count}
    assert "add float64" in problems_of(found(runs=runs))


@pytest.mark.parametrize("names", [["acos"], ["acos", "acosh", "asin"]])
def test_an_operator_that_nobody_looked_at_fails(names):
    assert "counterpart" in problems_of(found(without=names))


def test_another_reason_to_leave_a_sample_out_fails():
    other = Reason("not offered", "left out", "bfloat16")
    known = found().known | {Place("abs", "float64", 4): other}
    assert "bfloat16" in problems_of(found(known=known))


@pytest.mark.parametrize(
    "line",
    [
        "wrong value | value | float64 | 3 | it is wrong",
        "precision | dtype | float64 | 3 | a reason that explains no dtype",
        "not offered | value | float64 | 3 | nor a value",
        "? | value | float64 | 3 | ?",
        "convention | value | float64 | * | a wildcard",
        "convention | value | float64 | 3- | no end",
        "convention | value | float64 | 2 | listed twice",
    ],
)
def test_a_line_without_a_good_reason_is_refused(line):
    with pytest.raises(ValueError, match="list, line"):
        listing.read(LISTED.replace("[add]", f"{line}\n\n[add]"))


def test_an_update_invents_no_reasons(running, monkeypatch, tmp_path, capsys):
    command = importlib.import_module("tests.interop.opinfo.__main__")
    monkeypatch.setattr(listing, "PATH", tmp_path / "differences.txt")
    known = found().known | {Place("add", "float64", 1): TIE}
    assert command.update(found(known=known)) == 1
    assert "? | gradient | float64 | 1 | ?" in capsys.readouterr().out
    assert not listing.PATH.exists()
    assert command.update(found()) == 0
    assert listing.read(listing.PATH.read_text(encoding="utf-8")) == found()


# -- what it compares --------------------------------------------------------------

SOME = (
    "__getitem__",
    "logsumexp",
    "matmul",
    "mean",
    "nn.Conv2d",
    "nn.LSTM",
    "nn.LayerNorm",
    "nn.functional.conv2d",
    "nn.functional.cross_entropy",
    "prod",
    "var",
    "Adam",
    "SGD",
)


@pytest.mark.parametrize("name", SOME)
def test_samples_agree_or_are_listed(name, running):
    whole = listing.read(listing.PATH.read_text(encoding="utf-8"))
    listed = listing.of_names(whole, {name})
    run = running.found_in([running.run(name)])
    assert listing.problems(listing.merged(run, listed), listed) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "each", "right"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], True, [1, 1, 1]),
        ([np.inf, 0.0, np.nan], [-np.inf, np.nan, 0.0], True, [0, 0, 0]),
        ([1e-9, 1.0], [2e-9, 1.0], True, [0, 1]),
        ([1e-9, 1.0], [2e-9, 1.0], False, [1, 1]),
        ([1e-4, 1.0], [2e-4, 1.0], False, [0, 1]),
    ],
)
def test_numbers_agree_up_to_rounding(ours, theirs, each, right, running):
    compare = importlib.import_module("tests.interop.opinfo.compare")
    arrays = [np.array(x, "float32") for x in (ours, theirs, theirs)]
    np.testing.assert_array_equal(
        compare.agreeing(*arrays, each), np.array(right, bool)
    )


def test_a_wrong_gradient_is_noticed(running, monkeypatch):
    slope_of_one = lambda x: mg.sin(x).detach() + (x - x.detach())  # noqa: E731
    monkeypatch.setitem(running.samples.FUNCTIONS, "sin", slope_of_one)
    _, outcomes = running.run("sin")
    assert {outcome.what for outcome in outcomes["float64"]} == {"", "gradient"}
    assert outcomes["float64"][0].what == "gradient"


# Ours alone: what makes, moves, shows, saves or differentiates; and adjoints and fused
# forms of what is compared.
ALONE = {
    *("Device", "Generator", "Tensor", "__version__", "asarray", "default_generator"),
    *("arange", "bernoulli"),
    *("CompileError", "compile"),
    *("detect_anomaly", "device", "draw", "explain", "from_dlpack", "inspect", "io"),
    *("keep_memory", "load_checkpoint", "manual_seed", "no_grad", "primitive"),
    *("profile", "record_lines", "record_write", "save_checkpoint", "testing"),
    *("checkpoint", "grad", "hessian", "hvp", "jvp", "value_and_grad", "vjp"),
    *("absolute", "at_largest", "conv2d_relu", "conv2d_relu_to_input", "to_largest"),
    *("conv2d_to_input", "conv2d_to_weight", "fold"),
    *("init", "functional", "load_torch_state_dict", "torch_state_dict"),
    *("Module", "ModuleList", "Optimizer", "Parameter", "Sequential", "Dropout"),
    *(
        "CosineWithWarmup",
        "ExponentialDecay",
        "Schedule",
        "clip_grad_norm",
        "FeedForward",
    ),
    *("LearnedPositions", "SinusoidalPositions", "TransformerDecoder"),
    *("temporal_softmax_loss", "temporal_affine", "rnn", "rnn_step", "lstm"),
    *("lstm_sequence", "lstm_step", "gru", "gru_step", "LSTMState", "unroll"),
}


# Operators that are functions of other names here, which the adapters call by their
# signs; and those that compute nothing that has a counterpart.
BY_SIGN = {
    *("__and__", "__eq__", "__ge__", "__getitem__", "__gt__", "__invert__", "__le__"),
    *("__lt__", "__ne__", "__or__", "__rand__", "__ror__"),
    *("__rmatmul__", "__rpow__", "__rsub__", "__rtruediv__"),
}
NO_SIGN = {
    *("__array__", "__bool__", "__dlpack__", "__dlpack_device__", "__float__"),
    *("__format__", "__hash__", "__iadd__", "__imul__", "__index__", "__int__"),
    *("__isub__", "__iter__", "__itruediv__", "__len__", "__reduce__", "__repr__"),
    "__setitem__",
}
NO_COUNTERPART = {"backward", "copy_", "detach", "item", "register_hook", "zero_grad"}


def test_what_we_offer_is_compared_or_has_no_counterpart():
    trees = [
        ast.parse((HERE / name).read_text(encoding="utf-8"))
        for name in ("functions.py", "modules.py", "trained.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    offered = {*mg.__all__, *nn.__all__, *nn.functional.__all__}
    assert offered - named <= ALONE <= offered
    members = {n: f for n, f in vars(mg.Tensor).items() if callable(f)}
    methods = {name for name in members if name[0] != "_"}
    assert methods - offered - named <= NO_COUNTERPART
    called = [getattr(mg, name) for name in named & {*mg.__all__}]
    operators = {n for n in members if n[0] == "_" and members[n] not in called}
    assert operators == BY_SIGN | NO_SIGN
