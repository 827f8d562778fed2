"""Does the house stand as the design says: who may import whom, and what is shipped?"""

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
    tree = ast.parse(path.read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_downwards(module):
    floor = floor_of(module)
    upwards = {name for name in own(EDGES[module]) if floor_of(name) > floor}
    assert not upwards, f"{module} imports upwards: {sorted(upwards)}"


def test_no_circle_of_imports_even_for_types():
    edges = {m: own(imports(m, path, types=True)) for m, path in SOURCES.items()}
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("module", [m for m in SOURCES if not is_within(m, "apps")])
def test_third_parties_only_where_allowed(module):
    for name in EDGES[module] - own(EDGES[module]):
        package = name.split(".")[0]
        assert package not in NETWORK, f"{module} reaches the network: {name}"
        rooms = THIRD_PARTIES.get(package, ())
        allowed = package in sys.stdlib_module_names or any(
            is_within(module, room) for room in rooms
        )
        assert allowed, f"{module} imports {name}; only {rooms or 'apps'} may"


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


@pytest.mark.parametrize("module", [m for m in SOURCES if m not in NAMING_CUPY])
def test_only_the_backend_names_cupy(module):
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    named = {name for name in spoken_names(tree) if "cupy" in name.lower()}
    assert not named, f"{module} names CuPy ({named}): ask minigrad.backend instead"


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


@pytest.mark.parametrize(
    "folder", [*PACKAGES, "benchmarks", "scripts", "tests", "docs"]
)
def test_every_file_says_what_it_answers(folder):
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "_build" not in path.parts
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"no module docstring in {silent}"


@pytest.mark.parametrize(
    "module", [m for m, path in SOURCES.items() if path.name == "__init__.py"]
)
def test_what_a_package_exports_exists(module):
    package = importlib.import_module(module)
    exported = getattr(package, "__all__", [])
    assert len(exported) == len(set(exported)), "a name stands twice in __all__"
    missing = [name for name in exported if not hasattr(package, name)]
    assert not missing, f"{module}.__all__ names what is not there: {missing}"


@pytest.mark.parametrize("module", ["minigrad", "nn"])
def test_public_packages_say_what_they_export(module):
    assert importlib.import_module(module).__all__


@pytest.mark.parametrize("package", ["minigrad", "nn"])
def test_types_are_shipped(package):
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


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.stem
)
def test_documentation_runs_or_quotes_its_code(page):
    fences = re.findall(r"^```(?=[^`\s])(.*)$", page.read_text(encoding="utf-8"), re.M)
    shown = [text for text in fences if not text.startswith("{")]
    assert set(shown) <= {"console", "text"}, (
        "code that nobody runs: use {doctest} for examples, {literalinclude} for source"
    )
