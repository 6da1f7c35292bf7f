"""Parts of a problem file replaced by dotted names."""

import pytest

import dmft
from dmft import problem_file

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
    stated = problem_file.read(file, changes | {"network.parameterization.c": [0, -1], "network.activation": "tanh"})
    assert stated.problem.data == dmft.datasets.binary_digits(samples=6)
    assert stated.problem.training == dmft.GradientDescent(0.5, 3) and stated.problem.options == {"samples": 64}
    assert stated.problem.network == dmft.DeepNet(1, dmft.ABC([0, "1/2"], ["1/2", "1/2"], [0, -1]), "tanh")
    assert problem_file.read(file).problem.training.steps == 2


def test_changes_of_tables_are_refused_as_the_tables_are(file):
    for changes, message in (
        ({"plot.steps": 1}, "unknown table: plot"),
        ({"training.rate": 1}, "GradientDescent has no field 'rate'"),
        ({"training": 3}, "training must be a table"),
        ({"data.samples.x": 1}, "data.samples.x cannot be set: data.samples is 4, which has no parts"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            problem_file.read(file, changes)
