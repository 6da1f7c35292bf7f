"""Parts of a problem replaced by dotted names, in tables and in built problems."""

import numpy as np
import pytest

import dmft
from dmft import problem

TEXT = """
network = { type = "DeepNet", depth = 1, parameterization = { type = "ABC", a = [0, "1/2"], b = ["1/2", "1/2"], c = [0, 0] } }
data = { type = "digits", samples = 4 }
training = { type = "GradientDescent", learning_rate = [0.1, 0.2], steps = 2 }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_tables_are_changed_before_they_are_read(file):
    changes = {"data.samples": 6, "training.steps": 3, "training.learning_rate": 0.5, "solve.samples": 64}
    stated = problem.read(file, changes | {"network.parameterization.c": [0, -1], "network.activation": "tanh"})
    assert stated.data == dmft.datasets.binary_digits(samples=6)
    assert stated.training == dmft.GradientDescent(0.5, 3) and stated.solve == {"samples": 64}
    assert stated.network == dmft.DeepNet(1, dmft.ABC([0, "1/2"], ["1/2", "1/2"], [0, -1]), "tanh")
    assert problem.read(file).training.steps == 2


def test_parts_of_a_built_problem_that_depend_on_each_other_are_replaced_at_once(file):
    stated = problem.read(file)
    rates = {"training.learning_rate": [1.0, 2.0, 3.0], "training.steps": 3}
    changed = stated.replaced(rates | {"solve.method": "causal", "network.depth": 1})
    np.testing.assert_array_equal(changed.training.learning_rates, [1.0, 2.0, 3.0])
    assert changed.solve == {"method": "causal"} and changed.network == stated.network and stated.training.steps == 2
    assert stated.replaced({"training": dmft.GradientDescent(1.0, 1)}).training.steps == 1
    assert stated.replaced({}) == stated


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.rate": 1}, "training.rate cannot be set; training has learning_rate, steps"),
        ({"plot.steps": 1}, "plot cannot be set; a problem has network, data, training"),
        ({"training.steps.x": 1}, "training.steps.x cannot be set: training.steps is 2, which has no parts"),
        ({"training": 1, "training.steps": 1}, "training must be set once"),
        ({"training.steps": -1, "training.learning_rate": 0.1}, "steps must be an integer >= 1; got -1"),
        ({"": 1}, "a name must be set once, by a dotted name such as training.learning_rate"),
        ({"training..steps": 1}, "a name must be set once|training. must be set once"),
    ],
)
def test_bad_changes_are_refused_by_name(file, changes, message):
    with pytest.raises(ValueError, match=message):
        problem.read(file).replaced(changes)


def test_changes_of_tables_are_refused_as_the_tables_are(file):
    for changes, message in (
        ({"plot.steps": 1}, "unknown table: plot"),
        ({"training.rate": 1}, "GradientDescent has no field 'rate'"),
        ({"training": 3}, "training must be a table"),
        ({"data.samples.x": 1}, "data.samples.x cannot be set: data.samples is 4, which has no parts"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            problem.read(file, changes)
