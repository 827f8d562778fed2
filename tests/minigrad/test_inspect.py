"""Can the tape be read: as a table, a picture, a profile, and up to its first NaN?"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.inspect import kept_bytes, rows_of, tape_of
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

ROOT = Path(mg.__file__).parents[1]


def small_tape():
    x, w = leaf(np.ones((4, 3))), leaf(np.ones((3, 2)))
    return mg.tanh(x @ w).sum()


# -- the first NaN -----------------------------------------------------------------


def anomaly_of(compute):
    """The message of the first anomaly that `compute` runs into."""
    watched = mg.detect_anomaly()(compute)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as raised:
        watched()
    return raised.value


def test_the_first_bad_output_names_operation_and_line():
    def compute():
        y = leaf([1.0, 0.0, 2.0]) * 2
        z = mg.log(y)  # here it goes wrong
        return z.sum()

    error = anomaly_of(compute)
    assert_parts(error, "output of log", "-inf at index (1,)", "test_inspect.py:")
    assert_parts(error, "z = mg.log(y)  # here it goes wrong")
    assert_parts(error, "operands are finite", "division by 0")


def test_an_operand_that_was_bad_already_is_said():
    error = anomaly_of(lambda: leaf([1.0, np.nan]) * 2)
    assert_parts(error, "multiply", "nan at index (1,)", "held such a value already")


def infinite_slope(**how):
    x = leaf([4.0, 0.0])
    y = mg.sqrt(x)  # an infinite slope at 0
    return mg.grad(y.sum(), x, **how) if how else y.sum().backward()


def test_the_first_bad_gradient_names_operation_and_the_line_that_recorded_it():
    error = anomaly_of(infinite_slope)
    assert_parts(error, "gradient that sqrt", "inf at index (1,)", "leaf of shape")
    assert_parts(error, "y = mg.sqrt(x)  # an infinite slope at 0", "clip")


def test_a_bad_gradient_is_found_while_gradients_are_recorded():
    assert_parts(anomaly_of(lambda: infinite_slope(create_graph=True)), "inf")


def test_operations_without_gradients_are_watched_too():
    error = anomaly_of(mg.no_grad()(lambda: mg.log(plain([0.0]))))
    assert_parts(error, "output of log")


def test_parts_of_a_whole_are_watched():
    with pytest.raises(FloatingPointError, match="unstack"), mg.detect_anomaly():
        mg.unstack(leaf([1.0, np.inf]))


def test_finite_numbers_pass_and_the_gradients_are_the_same():
    x = leaf([1.0, 2.0])
    with mg.detect_anomaly():
        (mg.log(x) * x).sum().backward()
    assert_equal(x.grad, np.log([1.0, 2.0]) + 1)


def test_integers_and_booleans_are_no_anomaly():
    with mg.detect_anomaly():
        assert_equal(leaf([1.0, 2.0])[plain([1], "int64")] > 1, [True])


# -- the user's line ---------------------------------------------------------------


def test_lines_are_recorded_only_on_demand():
    x = leaf(2.0)
    assert rows_of(x * x)[-1].line == ""
    with mg.record_lines():
        y = x * x  # the user's own line
    row = rows_of(y)[-1]
    assert re.match(r"test_inspect.py:\d+: y = x \* x  # the user's own line", row.line)


def test_lines_inside_layers_are_the_users():
    layer = nn.Linear(3, 2, generator=mg.Generator(0))
    with mg.record_lines():
        y = layer(mg.ones((1, 3)))  # calls a layer
    lines = {row.line for row in rows_of(y) if row.name != "leaf"}
    assert len(lines) == 1
    assert lines.pop().endswith("y = layer(mg.ones((1, 3)))  # calls a layer")


@pytest.mark.parametrize(
    "name", ["nn_experiment.py", "minigrad_demo.py", "nnet/run.py"]
)
def test_users_files_beside_the_packages_are_not_taken_for_ours(name):
    space = {"mg": mg, "x": leaf(2.0)}
    code = compile("with mg.record_lines():\n    y = x * x", str(ROOT / name), "exec")
    exec(code, space)
    assert rows_of(space["y"])[-1].line.startswith(f"{Path(name).name}:2:")


# -- the table ---------------------------------------------------------------------


def test_the_tape_is_listed_oldest_first():
    y = small_tape()
    names = [row.name for row in rows_of(y)]
    assert names == ["leaf", "leaf", "matmul", "tanh", "sum"]
    orders = [entry.order for entry in tape_of(y)]
    assert orders == sorted(orders)


def test_a_row_says_where_it_came_from_and_what_is_kept_for_whom():
    x, w = leaf(np.ones((4, 3))), leaf(np.ones((3, 2)))
    row = rows_of(x @ w)[-1]
    assert row.inputs == (x.entry.order, w.entry.order)
    assert row.shape == (4, 2)
    assert row.dtype == "float64"
    assert row.kept_bytes == 8 * (12 + 6)
    kept = " ".join(row.kept)
    assert_parts(ValueError(kept), "a for", "b for")


def test_the_table_shows_names_shapes_bytes_and_the_total():
    y = small_tape()
    text = mg.explain(y)
    lines = text.splitlines()
    assert lines[0].split() == [
        "entry",
        "operation",
        "from",
        "shape",
        "dtype",
        "bytes",
        "keeps",
    ]
    assert len(lines) == 1 + 5 + 1
    matmul = next(line for line in lines if "matmul" in line)
    assert_parts(ValueError(matmul), "(4, 2)", "float64", "144")
    assert lines[-1] == f"5 entries keep {kept_bytes(y)} bytes alive"
    assert kept_bytes(y) == 144 + 64


def test_the_table_shows_lines_where_they_were_recorded():
    with mg.record_lines():
        y = leaf(2.0) * 3  # shown
    text = mg.explain(y)
    assert "line" in text.splitlines()[0]
    assert "# shown" in text


def test_a_walked_tape_says_that_it_was_freed():
    y = small_tape()
    y.backward()
    assert "freed" in mg.explain(y)


def test_parts_show_how_many_there_are():
    text = mg.explain(mg.unstack(leaf(np.ones((3, 2))))[0])
    assert "3 x (2,)" in text


def test_a_shared_array_counts_once():
    x = leaf(np.ones(100))
    y = x * x
    z = mg.exp(x) * x
    assert kept_bytes(y) == 800
    assert kept_bytes(y + z) == 1600


@pytest.mark.parametrize("ask", [mg.explain, mg.draw, rows_of, kept_bytes])
def test_a_tensor_without_a_tape_says_why(ask):
    with pytest.raises(RuntimeError) as raised:
        ask(plain([1.0]) * 2)
    assert_parts(raised.value, "no tape", "no_grad()", "requires_grad=True")


# -- the picture -------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def pictured():
    x = leaf(np.ones((2, 2)))
    a, b = mg.unstack(mg.tanh(x))
    return (a * b + a).sum()


def test_the_svg_is_well_formed_and_shows_every_entry_and_edge():
    y = pictured()
    rows = rows_of(y)
    picture = ElementTree.fromstring(mg.draw(y).svg)
    assert picture.tag == f"{SVG}svg"
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    for row in rows:
        assert row.name in texts
    assert len(list(picture.iter(f"{SVG}rect"))) == len(rows)
    edges = [p for p in picture.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(edges) == sum(len(row.inputs) for row in rows)


def test_boxes_of_the_svg_do_not_overlap_and_lie_inside():
    picture = ElementTree.fromstring(mg.draw(pictured()).svg)
    boxes = [
        [float(rect.get(key)) for key in ("x", "y", "width", "height")]
        for rect in picture.iter(f"{SVG}rect")
    ]
    for i, (x, y, w, h) in enumerate(boxes):
        assert 0 <= x <= x + w <= float(picture.get("width"))
        assert 0 <= y <= y + h <= float(picture.get("height"))
        for u, v, _, _ in boxes[i + 1 :]:
            assert abs(x - u) >= w or abs(y - v) >= h


def test_characters_of_the_users_line_are_escaped():
    with mg.record_lines():
        y = leaf(1.0) * (1 < 2 & 3)  # <&> "quoted"
    drawing = mg.draw(y)
    ElementTree.fromstring(drawing.svg)
    assert "<&>" not in drawing.html


def test_the_dot_source_names_every_entry_and_edge():
    y = pictured()
    dot = mg.draw(y).dot
    rows = rows_of(y)
    assert dot.startswith("digraph")
    assert dot.endswith("}")
    assert dot.count("->") == sum(len(row.inputs) for row in rows)
    for row in rows:
        assert f'e{row.order} [label="{row.name}' in dot


def test_the_page_holds_picture_and_table():
    y = pictured()
    page = mg.draw(y).html
    assert page.startswith("<!doctype html>")
    assert_parts(ValueError(page), "<svg", "entries keep", "</html>")


@pytest.mark.parametrize("ending", [".svg", ".html", ".dot"])
def test_a_picture_is_saved_whole(ending, tmp_path):
    path = tmp_path / f"tape{ending}"
    drawing = mg.draw(pictured(), path)
    assert path.read_text(encoding="utf-8") == getattr(drawing, ending[1:])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"tape\.png") as raised:
        mg.draw(pictured(), tmp_path / "tape.png")
    assert_parts(raised.value, ".svg", ".html", ".dot")


def test_a_tape_too_long_to_read_is_refused():
    y = x = leaf(1.0)
    for _ in range(500):
        y = y + x
    with pytest.raises(ValueError, match="501") as raised:
        mg.draw(y)
    assert_parts(raised.value, "most=400", "smaller case")
    assert mg.draw(y, most=600).svg


def test_a_picture_shows_itself_in_a_notebook():
    drawing = mg.draw(pictured())
    assert drawing._repr_svg_() == drawing.svg


# -- the profile -------------------------------------------------------------------


def test_the_profile_counts_operations_forward_and_backward():
    x = leaf(np.ones(10))
    with mg.profile() as profile:
        y = mg.tanh(x * x).sum()
        y.backward()
    told = [(event.phase, event.name) for event in profile.events]
    assert told == [
        ("forward", "multiply"),
        ("forward", "tanh"),
        ("forward", "sum"),
        ("backward", "sum"),
        ("backward", "tanh"),
        ("backward", "multiply"),
    ]
    assert all(event.seconds >= 0 for event in profile.events)


def test_live_bytes_rise_and_fall_with_the_arrays():
    x = leaf(np.ones(1000))
    with mg.profile() as profile:
        y = x * 2
        z = y + 1
        del y
        z + 1
    live = [event.live_bytes for event in profile.events]
    assert live == [8000, 16000, 16000]
    assert profile.peak_bytes == 16000
    del z
    assert profile.live == 0


def test_the_profile_prints_a_row_an_operation():
    with mg.profile() as profile:
        small_tape().backward()
    text = str(profile)
    assert_parts(ValueError(text), "operation", "forward ms", "backward ms", "matmul")
    assert_parts(ValueError(text), "peak:", "live bytes")


def test_an_empty_profile_prints():
    with mg.profile() as profile:
        pass
    assert "peak: 0" in str(profile)


def test_modes_can_be_combined():
    with mg.profile() as profile, mg.record_lines(), mg.detect_anomaly():
        y = leaf(2.0) * 3  # both
    assert len(profile.events) == 1
    assert rows_of(y)[-1].line.endswith("# both")
