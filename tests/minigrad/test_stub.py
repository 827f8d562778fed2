"""Does the stub that editors read name exactly what a Tensor can do?"""

import ast
from pathlib import Path

import minigrad.tensor as tensor


def stub_names():
    tree = ast.parse(Path(tensor.__file__).with_suffix(".pyi").read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return functions | {
        node.target.id for node in body if isinstance(node, ast.AnnAssign)
    }


def test_the_stub_and_the_table_name_the_same_members():
    table = {*tensor.PROPERTIES, *tensor.OPERATORS, *tensor.METHODS}
    own = {"__init__", "array", "entry"}
    described = {"__repr__"}  # every object has one: stubs leave it out
    assert stub_names() - own == table - described
