"""What `help` shows: every public name is documented with its arguments and an example, and the examples are true."""

import doctest
import inspect
import re
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
import pytest

import dmft

problems, simulating = import_module("dmft.problem"), import_module("dmft.simulate")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FAMILIES = (dmft.DeepLinear, dmft.ShallowNet, dmft.DeepNet, dmft.MLP)


def exported():
    """Public names and what they stand for."""
    names = {name: getattr(dmft, name) for name in dir(dmft) if not inspect.ismodule(getattr(dmft, name))}
    for module in (dmft.datasets, dmft.limits, dmft.plot, dmft.figures):
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        stated = getattr(module, "__all__", own)
        names |= {f"{module.__name__[5:]}.{name}": getattr(module, name) for name in stated if not name.startswith("_")}
    return {name: value for name, value in names.items() if callable(value)}


EXPORTED = exported()
ERRORS = {name for name, value in EXPORTED.items() if inspect.isclass(value) and issubclass(value, BaseException)}


def documented(text):
    """Names with an entry in the sections "Parameters" and "Attributes" of a docstring."""
    entries = []
    for section in ("Parameters", "Attributes"):
        found = re.search(rf"^{section}\n-+\n(.*?)(?=\n\n\S[^\n]*\n-+\n|\Z)", text, flags=re.DOTALL | re.MULTILINE)
        lines = found.group(1).splitlines() if found else []
        entries += [name for line in lines if line and not line.startswith(" ") for name in line.split(" : ")[0].split(", ")]
    return {name.lstrip("*") for name in entries}


def options_in(function, family):
    """Defaults in words, by option, of the list in the docstring of a function."""
    text = re.search(rf"Options of an? `{family.__name__}`.*?:\n\n(.*?)(?=\n\S)", inspect.getdoc(function), flags=re.DOTALL).group(1)
    return dict(re.findall(r"^    (\w+) : .*?(?:, default (.*))?$", text, flags=re.MULTILINE))


def public_methods(value):
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        function = getattr(member, "__func__", getattr(member, "fget", None) or member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


@pytest.mark.parametrize("name", EXPORTED)
def test_every_argument_is_documented(name):
    value = EXPORTED[name]
    text = inspect.getdoc(value)
    assert text and not text.startswith(f"{value.__name__}(")  # not the signature that dataclasses put there
    if name in ERRORS or name == "Status":
        return
    missing = set(inspect.signature(value).parameters) - documented(text)
    inherited = [documented(inspect.getdoc(base) or "") for base in getattr(value, "__mro__", ())[1:]]
    assert not missing.difference(*inherited)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_method_is_documented(name):
    assert [method for method, function in public_methods(EXPORTED[name]) if not inspect.getdoc(function)] == []


@pytest.mark.parametrize("name", sorted(set(EXPORTED) - ERRORS))
def test_every_public_name_has_an_example_that_is_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = EXPORTED[name]
    texts = {name: inspect.getdoc(value)} | {f"{name}.{method}": inspect.getdoc(f) or "" for method, f in public_methods(value)}
    assert ">>>" in texts[name]
    for where, text in texts.items():
        test = doctest.DocTestParser().get_doctest(text, {"dmft": dmft, "np": np}, where, None, 0)
        said = []
        result = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append)
        assert not result.failed, "".join(said)
    plt.close("all")


@pytest.mark.parametrize("family", FAMILIES)
def test_help_of_solve_lists_the_options_of_each_family(family):
    listed, theory = options_in(dmft.solve, family), import_module(f"dmft.theories.{problems.THEORIES[family]}")
    assert set(listed) == {name for names in theory.METHODS.values() for name in names}
    defaults = {}
    for function in (theory.check, *(getattr(theory, name) for name in ("_fixed_point",) if hasattr(theory, name))):
        defaults |= {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    assert {name: eval(stated) for name, stated in listed.items()} == {name: defaults[name] for name in listed}


@pytest.mark.parametrize("family", FAMILIES)
def test_help_of_simulate_lists_the_options_of_each_family(family):
    listed, simulation = options_in(dmft.simulate, family), import_module(f"dmft.simulations.{simulating._SIMULATIONS[family]}")
    assert tuple(sorted(listed)) == tuple(sorted(simulation.OPTIONS))
    defaults = {name: parameter.default for name, parameter in inspect.signature(simulation.plan).parameters.items()}
    assert {name: eval(stated or "None") for name, stated in listed.items()} == {name: defaults[name] for name in listed}


@pytest.mark.parametrize("name", dmft.figures.FIGURES)
def test_every_figure_says_what_it_shows(name):
    assert dmft.figures.describe(name).endswith(".")
