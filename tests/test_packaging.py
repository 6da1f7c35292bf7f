"""What gets installed, the README's commands, and the error when a foreign module hides one of our packages."""

import configparser
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dmft

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_installed(setup):
    found = {
        ".".join(f.parent.relative_to(ROOT).parts) for top in ("dmft", "solvers", "derivations") for f in (ROOT / top).rglob("__init__.py")
    }
    assert set(setup["options"]["packages"].split()) == found | {"dmft._data"}


def test_every_file_needed_at_run_time_is_installed(setup):
    patterns = [p.strip() for p in setup["options.package_data"]["dmft._data"].split(",")]
    needed = [f.name for f in (ROOT / "data").iterdir() if f.is_file() and f.suffix != ".py"]
    assert needed and all(any(fnmatch.fnmatch(name, p) for p in patterns) for name in needed)
    assert [f.name for f in (ROOT / "dmft").glob("*.mplstyle")] == ["dmft.mplstyle"]


def test_imported_libraries_are_declared(setup):
    from test_layering import OURS, files, imported_packages

    declared = {line.split()[0] for line in setup["options"]["install_requires"].split("\n") if line}
    imported = {name for package in ("dmft", "solvers", "derivations") for f in files(package) for name in imported_packages(f)}
    assert imported - set(sys.stdlib_module_names) - OURS <= declared | {"xarray"}


def test_readme_opens_with_the_two_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    commands = [line for line in lines if line.startswith("python3 -m venv .venv && ")]
    assert len(commands) == 2
    assert commands[0].endswith("dmft quickstart") and commands[1].endswith("-m pytest")


def test_about_is_printable_json_without_paths():
    about = dmft.about()
    assert json.loads(json.dumps(about)) == about
    assert about["dmft"] == dmft.__version__ and about["python"] in str(about)
    assert about["blas"] and str(ROOT) not in json.dumps(about)


def import_dmft(folder, code="import dmft; dmft.DeepLinear(depth=1)"):
    """Run `code` with `folder` first on the search path, as if Python were started there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_import_works_from_any_folder(tmp_path):
    assert import_dmft(tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["solvers", "derivations"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
@pytest.mark.parametrize("code", ["import dmft", "import {}, dmft"])
def test_a_foreign_module_that_hides_ours_is_named(tmp_path, name, file, code):
    foreign = tmp_path / file.format(name)
    foreign.parent.mkdir(exist_ok=True)
    foreign.touch()
    result = import_dmft(tmp_path, code.format(name))
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and str(foreign) in last and "rename" in last


def test_a_foreign_folder_without_init_does_not_hide_ours(tmp_path):
    (tmp_path / "solvers").mkdir()
    assert import_dmft(tmp_path).returncode == 0


def test_a_missing_package_is_named(tmp_path):
    (tmp_path / "dmft").symlink_to(ROOT / "dmft")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-S", "-c", "import dmft"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "the package 'solvers', a part of dmft, is missing" in result.stderr
