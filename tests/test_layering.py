"""Imports run downwards only, and `import dmft` stays light."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"dmft", "solvers", "derivations", "tests"}
ALLOWED = {"solvers": {"solvers"}, "derivations": {"derivations"}, "dmft": {"dmft", "solvers", "derivations"}}
NUMERICS = {"numpy", "scipy", "numba"}


def imported_packages(path):
    """Top-level packages that a file imports anywhere; relative imports count as the file's own package."""
    own = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield own if node.level else node.module.split(".")[0]


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", [f for package in ALLOWED for f in files(package)], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards(path):
    package = path.relative_to(ROOT).parts[0]
    assert set(imported_packages(path)) & OURS <= ALLOWED[package]


@pytest.mark.parametrize(("package", "libraries"), [("solvers", NUMERICS), ("derivations", {"sympy"})])
def test_lower_rooms_use_their_own_libraries_only(package, libraries):
    for path in files(package):
        foreign = set(imported_packages(path)) - set(sys.stdlib_module_names) - {package}
        assert foreign <= libraries, path


def run_python(code, **options):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, **options).stdout


def test_import_is_fast_and_loads_nothing_heavy():
    start = time.perf_counter()
    loaded = run_python("import dmft, sys; print(*sys.modules)").split()
    assert time.perf_counter() - start < 0.5
    assert not {"numpy", "numba", "scipy", "matplotlib", "h5py", "sympy", "typer", "rich", "joblib", "tqdm"} & set(loaded)


def test_stating_a_problem_loads_no_compiler():
    loaded = run_python(
        "import dmft, sys; dmft.DeepLinear(depth=1); dmft.GaussianData(); dmft.datasets.digits(); print(*sys.modules)"
    ).split()
    assert not {"numba", "scipy", "matplotlib", "h5py", "sympy", "typer"} & set(loaded)


def test_importing_a_submodule_leaves_the_function_of_the_same_name():
    assert run_python("import dmft; from dmft.about import about; print(dmft.about is about)").strip() == "True"
    assert run_python("import dmft, dmft.about; print(callable(dmft.about))").strip() == "True"
