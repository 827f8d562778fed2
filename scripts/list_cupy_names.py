"""The functions, ufuncs and array methods of a release of CuPy.

    pip download --no-deps --only-binary :all: cupy-cuda12x
    cd minigrad/testing/strict
    python ../../../scripts/list_cupy_names.py cupy_cuda12x-*.whl > cupy_names.json

The argument is a wheel, an unpacked wheel, or a site-packages folder with CuPy in it.
Nothing of CuPy is imported, which would need an NVIDIA driver:

- Functions are what the packages in `PACKAGES` import or define. Each name is followed
  through the Python sources to its `def`, whose parameters are listed. Constants,
  dtypes and functions borrowed from NumPy are left out: its protocols never reach them.
- What is compiled has no source in a wheel. A compiled name counts as a function or a
  ufunc where NumPy's object of that name is one; its parameters are unknown (null).
- The members of `cupy.ndarray` are compiled too. Its methods are in the extension
  with their signatures, which Cython writes before each docstring; its attributes are
  the names of the getters in the extension's symbol table.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

PACKAGES = ("", "linalg", "fft", "lib.stride_tricks")  # of those NumPy has as well
MAKES_UFUNC = re.compile(r"ufunc$|_GUFunc$|create_comparison$")
SIGNATURE = re.compile(rb"\0_ndarray_base\.(\w+)\(([^\0\n]*)\)(?: -> \w+)?[\0\n]")
GETTER = re.compile(rb"__pyx_getprop_4cupy_5_core_4core_13_ndarray_base_(\w+)")


class Sources:
    """The files of a wheel or a folder, and what their names stand for."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            self.read: Callable[[str], bytes] = lambda name: (path / name).read_bytes()
            found = path.glob("cupy/**/*")
            self.files = {p.relative_to(path).as_posix() for p in found}
        else:
            archive = zipfile.ZipFile(path)
            self.read = archive.read
            self.files = set(archive.namelist())
        self.trees: dict[str, dict[str, ast.AST]] = {}

    def names(self, module: str) -> dict[str, ast.AST] | None:
        """The last definition of each name of a module; None if it is compiled."""
        stem = module.replace(".", "/")
        files = {f"{stem}.py", f"{stem}/__init__.py"} & self.files
        if module not in self.trees and files:
            tree = ast.parse(self.read(files.pop()))
            self.trees[module] = {
                name: node for node in ast.walk(tree) for name in bound_by(node)
            }
        return self.trees.get(module)

    def look_up(self, module: str, name: str) -> ast.AST | None:
        """Follow imports and aliases to a definition; None for what is compiled."""
        names = self.names(module)
        if names is None:
            return None
        node = names.get(name)
        if isinstance(node, ast.ImportFrom) and node.module != "numpy":
            (alias,) = (a for a in node.names if (a.asname or a.name) == name)
            if self.names(f"{node.module}.{alias.name}") is not None:
                return node  # a module
            return self.look_up(str(node.module), alias.name)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            return self.look_up(module, node.value.id)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            return self._attribute(module, node.value)
        return node

    def _attribute(self, module: str, node: ast.Attribute) -> ast.AST | None:
        """`name = _core.name`: the attribute of an imported module."""
        source = ast.unparse(node.value)
        imported = (self.names(module) or {}).get(source)
        if isinstance(imported, ast.ImportFrom) and str(imported.module) != "numpy":
            return self.look_up(f"{imported.module}.{source}", node.attr)
        return node


def bound_by(node: ast.AST) -> list[str]:
    """The names that a statement gives a meaning to."""
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []


def parameters(node: ast.FunctionDef) -> str:
    """The parameters' names as a `def` writes them, without defaults and types."""
    return names_of(ast.unparse(node.args))


def names_of(signature: str) -> str:
    """The names of a signature, in Python's or Cython's way of writing it."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]", "_", signature)
    parts = [re.split(r"[:=]", part)[0].split() for part in bare.split(",")]
    return ", ".join(part[-1] for part in parts if part)


def is_ufunc(node: ast.AST | None, name: str) -> bool:
    """Whether a definition makes a ufunc, or NumPy's object of that name is one."""
    if node is None:
        return isinstance(getattr(np, name, None), np.ufunc)
    value = getattr(node, "value", None)
    return isinstance(value, ast.Call) and bool(
        MAKES_UFUNC.search(ast.unparse(value.func))
    )


def is_compiled_function(package: str, name: str) -> bool:
    """Whether NumPy's object of a compiled name is a function (and not a class)."""
    owner: object = np
    for part in filter(None, package.split(".")):
        owner = getattr(owner, part, None)
    found = getattr(owner, name, None)
    return callable(found) and not isinstance(found, type)


def list_functions(sources: Sources) -> tuple[dict[str, str | None], list[str]]:
    """Functions with their parameters, and ufuncs."""
    functions: dict[str, str | None] = {}
    ufuncs: list[str] = []
    for package in PACKAGES:
        module = ".".join(filter(None, ("cupy", package)))
        for name in sources.names(module) or {}:
            if name.startswith("_"):
                continue
            node = sources.look_up(module, name)
            full = ".".join(filter(None, (package, name)))
            if is_ufunc(node, name):
                ufuncs.append(full)
            elif isinstance(node, ast.FunctionDef):
                functions[full] = parameters(node)
            elif node is None and is_compiled_function(package, name):
                functions[full] = None
    return functions, ufuncs


def list_members(sources: Sources) -> tuple[dict[str, str], list[str]]:
    """The array's methods with their parameters, and its attributes."""
    (file,) = (f for f in sources.files if re.match(r"cupy/_core/core\..*so$", f))
    binary = sources.read(file)
    methods = {
        name.decode(): names_of(signature.decode().partition(", ")[2])
        for name, signature in SIGNATURE.findall(binary)
    }
    attributes = {name.decode() for name in GETTER.findall(binary)}
    mangled = {name for name in attributes if name.endswith("P7_objectPv")}
    methods = {name: m for name, m in methods.items() if not name.startswith("_")}
    return methods, sorted(n for n in attributes - mangled if not n.startswith("_"))


def main(path: Path) -> None:
    """Print the list as JSON."""
    sources = Sources(path)
    version = re.search(rb"__version__ = '(.+)'", sources.read("cupy/_version.py"))
    assert version is not None
    functions, ufuncs = list_functions(sources)
    methods, attributes = list_members(sources)
    listed = {
        "version": version[1].decode(),
        "attributes": attributes,
        "functions": dict(sorted(functions.items())),
        "methods": dict(sorted(methods.items())),
        "ufuncs": sorted(ufuncs),
    }
    print(json.dumps(listed, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
