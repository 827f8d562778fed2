"""The rules of the house: who may import whom, sizes of files, what is shipped."""

import ast
import importlib
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("minigrad", "nn", "apps")

# From the ground up: a file imports rooms below its own, and nothing above.
# Files of one floor may use one another, as long as no circle arises.
FLOORS = (
    {"minigrad.backend", "minigrad.gpus", "minigrad.memory", "minigrad.random"},
    {"minigrad.tape"},
    {"minigrad.ops"},
    {"minigrad.functions"},
    {"minigrad.in_place"},
    {"minigrad.tensor"},
    {"minigrad.creation"},
    {
        "minigrad.checkpointing",
        "minigrad.transforms",
        "minigrad.compiler",
        "minigrad.inspect",
        "minigrad.testing",
        "minigrad.io",
    },
    {"minigrad"},
    {"nn"},
    {"apps"},
)

# What each package may import besides the standard library and the rooms below it.
THIRD_PARTIES = {
    "numpy": ("minigrad", "nn"),
    "cupy": ("minigrad.backend", "minigrad.gpus"),
    "h5py": ("minigrad.io",),
    "hypothesis": ("minigrad.testing",),
    "numba": ("nn.kernels",),
}
NETWORK = {"ftplib", "http", "smtplib", "socket", "socketserver", "ssl", "urllib"}


def module_name(path: Path) -> str:
    """Return the import name of a file below the root."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def is_within(module: str, room: str) -> bool:
    """Return whether a module is a room or lies inside it."""
    return module == room or module.startswith(room + ".")


def floor_of(module: str) -> int:
    """Return the floor of a module, counted from the ground."""
    rooms = [
        (len(room), number)
        for number, floor in enumerate(FLOORS)
        for room in floor
        if module == room or (room != "minigrad" and is_within(module, room))
    ]
    if not rooms:
        pytest.fail(f"{module} has no floor: give it one in FLOORS in {__file__}")
    return max(rooms)[1]


def is_type_checking(node: ast.AST) -> bool:
    """Return whether a node is `if TYPE_CHECKING:`, which never runs."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that can run, those inside functions included."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if is_type_checking(node):
            for other in node.orelse:
                yield from running_nodes(other)
        else:
            yield from running_nodes(node)


def absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    """Return the absolute name of what a `from ... import` takes from."""
    if not node.level:
        return node.module or ""
    package = module.split(".")
    climb = node.level - (path.name == "__init__.py")
    base = package[: len(package) - climb]
    return ".".join([*base, node.module] if node.module else base)


def imports(module: str, path: Path, types: bool = False) -> set[str]:
    """Return the modules that a file imports, wherever in the file it does so.

    With `types`, those too that it imports for its types alone.
    """
    found = set()
    tree = parsed(path)
    for node in ast.walk(tree) if types else running_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, path)
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                found.add(inside if inside in SOURCES else base)
    return found


EDGES = {module: imports(module, path) for module, path in SOURCES.items()}


def own(names: set[str]) -> set[str]:
    """Return the names that are modules of this project."""
    return {name for name in names if name.split(".")[0] in PACKAGES}


def test_every_room_of_the_engine_is_there():
    assert {"minigrad.backend", "minigrad.tape", "minigrad.tensor"} <= set(SOURCES)
    assert {"minigrad", "nn", "apps"} <= set(SOURCES)


def test_imports_point_downwards():
    upwards = [
        f"{module} imports {name}"
        for module in SOURCES
        for name in own(EDGES[module])
        if floor_of(name) > floor_of(module)
    ]
    assert not upwards


def test_no_circle_of_imports_even_for_types():
    edges = {m: own(imports(m, path, types=True)) for m, path in SOURCES.items()}
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")


def may_import(module: str, package: str) -> bool:
    """Return whether a file of the engine or the layers may import a package."""
    if package in sys.stdlib_module_names:
        return package not in NETWORK
    return any(is_within(module, room) for room in THIRD_PARTIES.get(package, ()))


def test_third_parties_and_the_network_only_where_allowed():
    wrong = [
        f"{module} imports {name}"
        for module in SOURCES
        for name in EDGES[module] - own(EDGES[module])
        if not is_within(module, "apps") and not may_import(module, name.split(".")[0])
    ]
    assert not wrong


def spoken_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names and texts of a file's code, docstrings and comments aside."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


# The test device that stands in for CuPy may say so; neither file imports it.
NAMING_CUPY = ("minigrad.backend", "minigrad.gpus", "minigrad.testing.strict.rules")


def test_only_the_backend_names_cupy():
    naming = [
        f"{module}: {name}"
        for module in SOURCES
        for name in spoken_names(parsed(SOURCES[module]))
        if "cupy" in name.lower() and module not in NAMING_CUPY
    ]
    assert not naming, "ask minigrad.backend instead"


# -- sizes -------------------------------------------------------------------------

MOST_LINES, MOST_OF_A_FUNCTION = 400, 25  # the latter without signature and docstring
# What runs for every + and *: written out until a compiler replays them.
WRITTEN_OUT = {"minigrad.tape.record._unary", "minigrad.tape.record._binary"}
WRITTEN_OUT |= {"minigrad.tape.record.call"}  # within these two


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has without signature and docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def engine_and_layers() -> dict[str, Path]:
    """Return the files that are held to these sizes."""
    return {m: path for m, path in SOURCES.items() if not is_within(m, "apps")}


def test_files_are_short():
    lengths = {m: len(p.read_text().splitlines()) for m, p in SOURCES.items()}
    assert not {m: n for m, n in lengths.items() if n > MOST_LINES}


def test_functions_are_short():
    long = {
        f"{module}.{node.name}": body_lines(node)
        for module, path in engine_and_layers().items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and body_lines(node) > MOST_OF_A_FUNCTION
    }
    assert set(long) <= WRITTEN_OUT, long


def run_python(program: str, folder: Path) -> str:
    """Run a program in a Python of its own that finds this checkout first."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_engine_and_layers_train_with_numpy_alone(tmp_path):
    program = """
        allowed = set(sys.stdlib_module_names) | {"numpy", "minigrad", "nn"}

        class OnlyNumPy:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] not in allowed:
                    raise ModuleNotFoundError(f"{name} is blocked", name=name)

        sys.meta_path.insert(0, OnlyNumPy())
        import minigrad as mg
        import nn

        layer = nn.Linear(3, 2, generator=mg.Generator(0))
        optimizer = nn.SGD(layer.parameters(), lr=0.01)
        loss = (layer(mg.ones((4, 3))) ** 2).sum()
        loss.backward()
        optimizer.step()
        after = (layer(mg.ones((4, 3))) ** 2).sum()
        assert after.item() < loss.item(), (after.item(), loss.item())
    """
    run_python(textwrap.dedent(program), tmp_path)


def test_every_file_says_what_is_in_it():
    silent = [
        str(path.relative_to(ROOT))
        for folder in (*PACKAGES, "benchmarks", "scripts", "tests", "docs")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "_build" not in path.parts and not ast.get_docstring(parsed(path))
    ]
    assert not silent, f"no module docstring in {silent}"


def test_what_a_package_exports_exists_and_stands_once():
    wrong = []
    for module in (m for m, path in SOURCES.items() if path.name == "__init__.py"):
        package = importlib.import_module(module)
        exported = getattr(package, "__all__", [])
        twice = {name for name in exported if exported.count(name) > 1}
        missing = {name for name in exported if not hasattr(package, name)}
        wrong += [f"{module}.{name}" for name in twice | missing]
    assert not wrong


def test_public_packages_ship_types_and_say_what_they_export():
    for package in ("minigrad", "nn"):
        assert importlib.import_module(package).__all__
        assert (ROOT / package / "py.typed").is_file()


def test_numpy_is_the_only_core_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = [
        re.match(r"[\w-]+", text).group() for text in project["project"]["dependencies"]
    ]
    assert names == ["numpy"]


def test_the_readme_example_prints_what_it_says(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.M | re.S)
    promised = re.findall(r"# prints (.*)$", code, flags=re.M)
    assert promised
    assert run_python(code, tmp_path).splitlines() == promised


def test_documentation_runs_or_quotes_its_code():
    """By {doctest} for examples, {literalinclude} for source."""
    wrong = [
        f"{page.name}: {text}"
        for page in sorted((ROOT / "docs").glob("*.md"))
        for text in re.findall(r"^```(?=[^`\s])(.*)$", page.read_text("utf-8"), re.M)
        if not text.startswith("{") and text not in ("console", "text")
    ]
    assert not wrong
