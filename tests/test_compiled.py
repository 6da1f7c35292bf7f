"""Caches of compiled kernels that cannot be written or read: a copy of `solvers.compiled` with one small kernel, in processes of its own."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "solvers" / "compiled.py"
KERNEL = """
from .compiled import kernel

@kernel
def twice(x):
    return 2 * x
"""
RUN = "from package.small import twice; print(twice(21), sum(twice.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(SOURCE, folder)
    (folder / "small.py").write_text(KERNEL, encoding="utf-8")
    return folder


def run(package, **environment):
    """Result and cache hits of a process that calls the kernel, and what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))} | environment
    done = subprocess.run([sys.executable, "-c", RUN], cwd=package.parent, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.fixture
def nowhere(package, tmp_path):
    """The environment of an installation that cannot be written, without a home; permission bits do not bind root."""
    (package / "__pycache__").write_text("no folder", encoding="utf-8")
    (tmp_path / "home").write_text("no folder", encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}


def test_without_any_folder_to_write_there_is_one_of_the_users_own(package, nowhere, tmp_path):
    result, said = run(package, **nowhere)
    (folder,) = (tmp_path / "temporary").iterdir()
    assert result == ["42", "0"] and said.count("UserWarning") == 1 and f"it is kept in {folder}. Set the environment" in said
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and list(folder.rglob("*.nbi"))
    assert run(package, **nowhere)[0] == ["42", "1"]

    folder.chmod(0o777)  # others could put code there
    result, said = run(package, **nowhere)
    assert result == ["42", "0"] and "every process compiles anew" in said and "NUMBA_CACHE_DIR" in said


def test_a_stated_folder_is_used(package, nowhere, tmp_path):
    (tmp_path / "stated").mkdir()
    assert run(package, **nowhere, NUMBA_CACHE_DIR=str(tmp_path / "stated")) == (["42", "0"], "")
    assert list((tmp_path / "stated").rglob("*.nbc"))


def test_torn_entries_are_rebuilt(package):
    run(package)
    for ending, length in (("nbc", -20), ("nbi", 5)):
        (torn,) = package.glob(f"__pycache__/*.{ending}")
        torn.write_bytes(torn.read_bytes()[:length])
        assert run(package) == (["42", "0"], "")
    assert run(package)[0] == ["42", "1"]
