"""The command line: every command from file to result, exit statuses, and one-line errors."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import typer
from rich.markup import escape

import dmft
from dmft import cli, figures, problem_file, terminal

ROOT = Path(__file__).parent.parent
ISOTROPIC = """
[network]
type = "DeepLinear"
depth = 1
width_ratio = 1.0
[data]
type = "GaussianData"
sample_ratio = 2.0
label_noise = 0.3
[training]
type = "GradientDescent"
learning_rate = 0.1
steps = 10
[simulate]
dim = 30
seeds = 3
"""
DIGITS = """
[network]
type = "DeepLinear"
depth = 1
[data]
type = "digits"
classes = [3, 8]
sample_ratio = 2.0
[training]
type = "GradientDescent"
learning_rate = 0.02
steps = 5
[simulate]
images = true
seeds = 2
"""
SHALLOW = """
[network]
type = "ShallowNet"
q_sigma = "-1"
q_eta = "1"
[data]
type = "digits"
classes = [3, 8]
samples = 12
test_samples = 6
flipped = 0.25
seed = 1
[training]
type = "GradientDescent"
learning_rate = 2.0
steps = 4
[solve]
samples = 64
track = "kernels"
[simulate]
width = 40
seeds = 3
"""
EVOLUTION = """
network = { type = "MLP", depth = 1, activation = "tanh", richness = 1.0 }
data = { type = "digits", classes = [3, 8], samples = 4, test_samples = 2, seed = 1 }
training = { type = "GradientDescent", learning_rate = 0.2, steps = 3 }
solve = { samples = 256, replicas = 4, loss = "logistic" }
simulate = { width = 64, seeds = 3, track = "kernels", kernel_times = [0, 3], loss = "logistic" }
"""
DEEP = """
[network]
type = "DeepNet"
depth = 2
parameterization = "ip-llr"
[data]
type = "digits"
classes = [4, 9]
samples = 8
test_samples = 5
[training]
type = "GradientDescent"
learning_rate = [6.0, 0.2, 0.2]
steps = 3
[solve]
samples = 1024
[simulate]
width = 40
seeds = 3
[coordinate_check]
widths = [32, 64, 128]
seeds = 4
"""
#: Exponents as a table, several classes.
CLASSES = (
    DEEP.replace('"ip-llr"', '{ type = "ABC", a = ["-1/2", 0, "1/2"], b = ["1/2", "1/2", "1/2"], c = [0, 0, 0] }\noutputs = 3')
    .replace("[4, 9]", "[4, 9, 0]")
    .replace("[solve]", '[solve]\nloss = "softmax"')
    .replace("[simulate]", '[simulate]\nloss = "softmax"')
    .replace("samples = 1024", "samples = 2048")
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(ISOTROPIC, encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the program in this process: call("solve", "run.toml") gives (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dmft", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_version_help_and_about(call):
    assert call("--version")[:2] == (0, dmft.__version__ + "\n")
    status, text, _ = call("--help")
    assert status == 0 and all(name in text for name in ("quickstart", "solve", "simulate", "compare", "resume", "plot", "info", "about"))
    assert dmft.__version__ in call("about")[1]


def test_solve_stores_what_the_api_gives(folder, call):
    status, text, _ = call("solve", "run.toml")
    assert status == 0 and "written: run.h5" in text
    stated = problem_file.read("run.toml")
    np.testing.assert_allclose(
        dmft.load("run.h5").test_loss, dmft.solve(stated.problem, progress=False).test_loss, rtol=1e-12
    )
    assert call("solve", "run.toml", "--out", "other.h5")[0] == 0 and (folder / "other.h5").exists()
    assert call("solve", "run.toml", "--set", "solve.out=third.h5", "--set", "training.steps=2")[0] == 2
    assert call("solve", "run.toml", "--set", 'solve.out="third.h5"', "--set", "training.steps=2")[0] == 0
    assert len(dmft.load("third.h5").times) == 3


def test_resume_plot_info_and_compare_read_a_file(folder, call):
    call("solve", "run.toml")
    assert call("resume", "run.h5", "--steps", "15")[0] == 0
    assert len(dmft.load("run.h5").times) == 16
    assert call("plot", "run.h5")[0] == 0 and (folder / "run.png").stat().st_size > 10_000
    assert call("plot", "run.h5", "--out", "figure.pdf")[0] == 0 and (folder / "figure.pdf").exists()
    status, text, _ = call("info", "run.h5")
    assert status == 0 and "DeepLinear" in text
    status, text, _ = call("compare", "run.h5", "--dim", "20", "--seeds", "3")
    assert status == 0 and "D = 20" in text and "written: run-networks.h5" in text
    assert dmft.load("run-networks.h5").dim == 20


def test_simulate_stores_what_the_api_gives(folder, call):
    status, text, _ = call("simulate", "run.toml")
    assert status == 0 and "±" in text and "written: run-networks.h5" in text
    stated = problem_file.read("run.toml")
    expected = dmft.simulate(stated.problem, progress=False, **stated.simulate)
    np.testing.assert_array_equal(dmft.load("run-networks.h5").test_loss, expected.test_loss)
    assert call("plot", "run-networks.h5")[0] == 0 and (folder / "run-networks.png").stat().st_size > 10_000
    assert call("simulate", "run.toml", "--out", "networks.h5", "--set", "simulate.seeds=2")[0] == 0
    assert dmft.load("networks.h5").seeds == 2


def test_compare_prints_losses_and_verdict_and_stores_both(folder, call):
    status, text, _ = call("compare", "run.toml")
    assert status == 0 and re.search("Theory and networks(: cannot tell| agree| differ)", text) and "±" in text
    assert "written: run.h5" in text and "written: run-networks.h5" in text
    verdict = dmft.compare(dmft.load("run.h5"), dmft.load("run-networks.h5"), progress=False)
    assert str(verdict).splitlines()[0] in text
    status, text, _ = call("compare", "run.toml", "--seeds", "4", "--out", "four.h5", "--overwrite")
    assert status == 0 and "4 seeds" in text and dmft.load("four.h5").seeds == 4


def test_stored_networks_of_several_widths_are_compared_without_simulating(folder, call, monkeypatch):
    call("solve", "run.toml")
    for dim in ("20", "40"):
        call("simulate", "run.toml", "--set", f"simulate.dim={dim}", "--set", f"simulate.rng={dim}", "--out", f"{dim}.h5")
    monkeypatch.setattr(dmft, "simulate", None)
    monkeypatch.setattr(dmft, "solve", None)
    before = sorted(folder.iterdir())
    status, text, _ = call("compare", "run.h5", "20.h5")
    expected = dmft.compare(dmft.load("run.h5"), dmft.load("20.h5"), progress=False)
    assert status == 0 and str(expected).splitlines()[0] in text
    status, text, _ = call("compare", "run.h5", "20.h5", "40.h5")
    expected = dmft.compare(dmft.load("run.h5"), [dmft.load("20.h5"), dmft.load("40.h5")], progress=False)
    assert status == 0 and str(expected).splitlines()[0] in text and len(expected.ensembles) == 2
    assert sorted(folder.iterdir()) == before
    assert call("plot", "run.h5", "20.h5", "--out", "both.png")[0] == 0 and (folder / "both.png").stat().st_size > 10_000


MISUSED = {
    "two problems": (("run.toml", "20.h5"), "files must be one problem, or a trajectory and networks; got run.toml, 20.h5"),
    "networks first": (("20.h5", "run.h5"), "20.h5 must hold a trajectory; it holds networks"),
    "two trajectories": (("run.h5", "run.h5"), "run.h5 must hold networks; it holds a trajectory"),
    "size of stored networks": (("run.h5", "20.h5", "--dim", "3"), "dim must be left out with stored networks"),
    "file of stored networks": (("run.h5", "20.h5", "--out", "x.h5"), "out must be left out with stored networks"),
    "changed result": (("run.h5", "--set", "training.steps=3"), "set changes a problem file, FILE.toml; got 'training.steps=3'"),
}


def test_what_compare_cannot_do_is_refused_by_name(folder, call):
    call("solve", "run.toml")
    call("simulate", "run.toml", "--out", "20.h5")
    status, _, error = call("compare", "run.toml", "--out", "run.h5", "--overwrite")
    assert status == 2 and error == "dmft: out must be another file than that of the trajectory, run.h5\n"
    status, _, error = call("solve", "run.toml", "--set", "solve.out=3")
    assert status == 2 and error == "dmft: out must be a string; got 3\n"
    for arguments, message in MISUSED.values():
        status, text, error = call("compare", *arguments)
        assert (status, text) == (2, "") and error.startswith(f"dmft: {message}") and error.count("\n") == 1


def test_results_are_not_overwritten_unless_asked(folder, call, monkeypatch):
    call("compare", "run.toml")
    kept = {name: (folder / name).read_bytes() for name in ("run.h5", "run-networks.h5")}
    with monkeypatch.context() as patch:
        patch.setattr(dmft, "simulate", None)  # nothing is begun
        patch.setattr(dmft, "solve", None)
        for arguments, name in (
            (("solve", "run.toml"), "run.h5"),
            (("simulate", "run.toml"), "run-networks.h5"),
            (("compare", "run.toml"), "run.h5"),
            (("compare", "run.h5"), "run-networks.h5"),
        ):
            status, _, error = call(*arguments)
            assert status == 2 and error.startswith(f"dmft: {name} exists: ") and error.endswith("or replace it with --overwrite\n")
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    for command, name in (("solve", "run.h5"), ("simulate", "run-networks.h5")):
        assert call(command, "run.toml", "--overwrite", "--set", "training.steps=4")[0] == 0
        assert len(dmft.load(name).times) == 5


def test_nothing_is_overwritten_that_is_no_result(folder, call, monkeypatch):
    monkeypatch.setattr(dmft, "simulate", None)
    monkeypatch.setattr(dmft, "solve", None)
    for name in ("run.h5", "run-networks.h5"):
        (folder / name).write_text("mine", encoding="utf-8")
    for command in ("solve", "simulate", "compare"):
        status, _, error = call(command, "run.toml", "--overwrite")
        assert status == 2 and error.count("\n") == 1
    assert (folder / "run.h5").read_text(encoding="utf-8") == (folder / "run-networks.h5").read_text(encoding="utf-8") == "mine"


def test_a_bad_solve_is_found_before_networks_are_trained(folder, call, monkeypatch):
    monkeypatch.setattr(dmft, "simulate", None)
    assert call("compare", "run.toml", "--set", "solve.method=magic")[0] == 2


SET = {
    "training.learning_rate": "set must be NAME=VALUE, such as training.learning_rate=0.1; got 'training.learning_rate'",
    "training.learning_rate=": "set must be NAME=VALUE",
    "training.steps=1.2.3": "set must give training.steps a value of TOML, such as 0.1, [1, 2] or \"text\"; got '1.2.3'",
    "training.steps=1\nx=2": "set must give training.steps one value",
    "training.rate=1": "GradientDescent has no field 'rate'",
    "plot.x=1": "unknown table: plot",
    "training.steps=-1": "steps must be an integer >= 1; got -1",
}


@pytest.mark.parametrize(("text", "message"), SET.items(), ids=SET)
def test_bad_changes_end_with_one_line(folder, call, text, message):
    status, out, error = call("solve", "run.toml", "--set", text)
    assert (status, out) == (2, "") and error.startswith(f"dmft: {message}") and error.count("\n") == 1
    assert not (folder / "run.h5").exists()


def test_a_name_is_set_once(folder, call):
    assert "set must name training.steps once" in call("solve", "run.toml", "--set", "training.steps=1", "--set", "training.steps=2")[2]


def test_own_data_from_toml(folder, call):
    data = dmft.datasets.binary_digits(samples=4, norm=8.0)
    np.savez("own.npz", x=data.x, y=data.y)
    text = re.sub("data = .*", 'data = { type = "Dataset", file = "own.npz" }', EVOLUTION)
    (folder / "mlp.toml").write_text(text, encoding="utf-8")
    assert call("solve", "mlp.toml")[0] == 0 and dmft.load("mlp.h5").data == data


FIGURE_COMMANDS = [("plot", "run.h5"), ("coordinate-check", "deep.toml")]


@pytest.mark.parametrize("arguments", FIGURE_COMMANDS, ids=lambda arguments: arguments[0])
def test_figures_that_cannot_be_written_are_found_before_the_work(folder, call, monkeypatch, arguments):
    monkeypatch.setattr(dmft, "load", None)
    monkeypatch.setattr(dmft, "coordinate_check", None)
    (folder / "deep.toml").write_text(DEEP, encoding="utf-8")
    (folder / "folder.png").mkdir()
    for name, message in (
        ("figure", "out must be a file that ends in ."),
        ("figure.png.bmp", "out must be a file that ends in ."),
        ("folder.png", "out must be a regular file that may be written"),
        ("nowhere/figure.png", "out must be in a folder that exists and may be written; got 'nowhere'"),
    ):
        status, _, error = call(*arguments, "--out", name)
        assert status == 2 and error.startswith(f"dmft: {message}") and error.count("\n") == 1


def test_folders_that_cannot_be_made_are_found_before_the_work(folder, call, monkeypatch):
    monkeypatch.setattr(figures, "function", lambda name: None)
    (folder / "file").write_text("", encoding="utf-8")
    for arguments in (("quickstart",), ("reproduce", "hajjar-polytope")):
        status, _, error = call(*arguments, "--out", "file/deeper")
        assert status == 2 and error.startswith("dmft: out must be a folder that can be made") and error.count("\n") == 1


def commands():
    group = typer.main.get_command(cli.app)
    return {(): group} | {(name,): command for name, command in group.commands.items()}


@pytest.mark.parametrize("name", commands(), ids=lambda name: " ".join(name) or "dmft")
def test_help_is_shown_as_it_is_written(call, monkeypatch, name):
    """Text in square brackets would be markup to rich, and vanish."""
    monkeypatch.setenv("COLUMNS", "300")
    status, text, _ = call(*name, "--help")
    command = commands()[name]
    written = [command.help, *(parameter.help for parameter in command.params if getattr(parameter, "help", None))]
    shown = " ".join(text.split())
    for help_text in written:
        plain = help_text.replace("\\[", "[")
        assert help_text == escape(plain) and " ".join(plain.split()) in shown
    assert status == 0


def test_compare_says_its_defaults(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert "[default: as [simulate] says, or 8]" in call("compare", "--help")[1]
    assert "[default: as [solve] says, or FILE.h5]" in call("solve", "--help")[1]


TABLES = [("classes",), ("classes", "--depth", "2"), ("analyze", "mup", "--depth", "4"), ("reproduce", "--list")]


@pytest.mark.parametrize("arguments", TABLES, ids=" ".join)
def test_tables_in_a_pipe_have_a_line_for_each_row(call, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "20")
    lines = call(*arguments)[1].splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line.strip()) == {"─"})
    body = [line for line in lines[rule + 1 : next(i for i in range(rule + 1, len(lines)) if not lines[i].strip())]]
    first = [line.split()[0] for line in body]
    expected = {
        "classes": [limit.name for limit in (dmft.limits.deep(2) if len(arguments) > 1 else dmft.limits.shallow()).classes],
        "analyze": list("12345"),
        "reproduce": list(figures.FIGURES),
    }
    assert first == expected[arguments[0]]


@pytest.fixture
def window(monkeypatch, capsys):
    """Standard output as a window of some columns; window(24) opens it, its text is without colours."""

    def open_window(columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return open_window


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("arguments", TABLES, ids=" ".join)
def test_nothing_is_broken_or_cut_in_a_window_of_80_columns(call, window, arguments):
    wide = call(*arguments)[1]
    window(80)
    text = plain(call(*arguments)[1])
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert sorted(text.replace("─", "").split()) == sorted(wide.replace("─", "").split())


ROWS = [("first", "one, two, three", "1"), ("second", "four", "2")]


def test_lists_and_headings_of_tables_break_before_rows_become_blocks(capsys, window):
    for columns, expected in (
        (60, ["name     where it is       count", "first    one, two, three   1", "second   four              2"]),
        (30, ["where", "it", "name     is      count", "first    one,    1", "two,", "three", "second   four    2"]),
        (
            20,
            ["name         first", "where it is  one,", "two,", "three", "count        1"]
            + ["name         second", "where it is  four", "count        2"],
        ),
    ):
        window(columns)
        terminal.show(terminal.console(), ("name", "where it is", "count"), ROWS)
        lines = [line.strip() for line in plain(capsys.readouterr().out).splitlines()]
        assert [line for line in lines if line.strip("─")] == expected


def test_prose_goes_on_below_what_its_label_is_of(capsys, window):
    window(24)
    terminal.prose(terminal.console(), ["  bias  expected to vanish slowly", "  1. a step of the argument", "", "short"])
    assert capsys.readouterr().out.splitlines() == [
        "  bias  expected to",
        "        vanish slowly",
        "  1. a step of the",
        "      argument",
        "",
        "short",
    ]


def test_numbers_are_aligned_to_the_right_and_prose_folds_between_words(capsys, window):
    window(60)
    terminal.show(terminal.console(), ("step", "loss"), [("0", "1.25"), ("10", "0.5")], right=True)
    lines = [line.rstrip() for line in plain(capsys.readouterr().out).splitlines() if line.strip(" ─")]
    assert lines == [" step   loss", " 0      1.25", " 10      0.5"]
    terminal.show(terminal.console(), ("a", "shows"), [("x" * 20, "word " * 12)], fold=True)
    lines = plain(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 60 and sum(line.count("word") for line in lines) == 12


def test_python_m_dmft_is_the_program(folder):
    program = [sys.executable, "-m", "dmft", "solve", "no.toml"]
    run = subprocess.run(program, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "") and run.stderr.startswith("dmft: ") and "No such file" in run.stderr


def test_divergence_is_a_result(folder, call):
    (folder / "wild.toml").write_text(ISOTROPIC.replace("learning_rate = 0.1", "learning_rate = 50.0"), encoding="utf-8")
    status, text, _ = call("solve", "wild.toml")
    assert status == 0 and "diverged" in text.lower()


def test_digits_from_toml(folder, call):
    (folder / "digits.toml").write_text(DIGITS, encoding="utf-8")
    stated = problem_file.read("digits.toml")
    x, y = dmft.datasets.digits((3, 8))
    assert stated.problem.data == dmft.StructuredData.from_dataset(x, y, sample_ratio=2.0)
    np.testing.assert_array_equal(stated.simulate["inputs"].x, x)
    status, text, _ = call("compare", "digits.toml")
    assert status == 0 and "D = 64" in text


def test_infinity_and_sizes_are_read_from_toml(folder):
    text = ISOTROPIC.replace("width_ratio = 1.0", "width_ratio = inf").replace("dim = 30", "dim = 30\ndims = [20, 30]")
    (folder / "wide.toml").write_text(text, encoding="utf-8")
    stated = problem_file.read("wide.toml")
    assert stated.problem.network.width_ratio == np.inf
    assert stated.compare == {"dims": [20, 30]} and stated.simulate == {"dim": 30, "seeds": 3}


def test_classifiers_of_digits_from_toml(folder, call):
    (folder / "shallow.toml").write_text(SHALLOW, encoding="utf-8")
    stated = problem_file.read("shallow.toml")
    assert stated.problem.network == dmft.ShallowNet.mean_field()
    assert stated.problem.data == dmft.datasets.binary_digits((3, 8), samples=12, test_samples=6, flipped=0.25, seed=1)
    assert stated.problem.options == {"samples": 64, "track": "kernels"} and stated.simulate == {"width": 40, "seeds": 3}
    status, text, _ = call("solve", "shallow.toml")
    assert status == 0 and all(name in text for name in ("test theory", "train theory", "limit", "M2"))
    solved = dmft.solve(stated.problem, progress=False)
    np.testing.assert_array_equal(dmft.load("shallow.h5").function, solved.function)
    assert call("plot", "shallow.h5")[0] == 0 and (folder / "shallow.png").stat().st_size > 10_000
    status, text, _ = call("simulate", "shallow.toml", "--out", "networks.h5")
    assert status == 0 and "±" in text and "test networks" in text
    assert call("plot", "networks.h5")[0] == 0 and (folder / "networks.png").stat().st_size > 10_000


def test_where_no_loss_is_finite_the_logits_are_shown(folder, call):
    (folder / "shallow.toml").write_text(SHALLOW.replace('q_sigma = "-1"', 'q_sigma = "-5/4"').replace('"1"', '"5/4"'), encoding="utf-8")
    status, text, _ = call("solve", "shallow.toml")
    assert status == 0 and "rms logits theory" in text and "M1" in text
    assert call("plot", "shallow.h5")[0] == 0
    assert "rms predictions theory" in call("solve", "shallow.toml", "--set", "solve.loss=mse", "--overwrite")[1]


def test_unstable_networks_from_toml(folder, call):
    text = SHALLOW.replace('q_eta = "1"', 'q_eta = "3/2"')
    (folder / "shallow.toml").write_text(text, encoding="utf-8")
    status, _, error = call("simulate", "shallow.toml")
    assert status == 2 and "allow_unstable" in error
    (folder / "shallow.toml").write_text(text + "allow_unstable = true\n", encoding="utf-8")
    assert call("simulate", "shallow.toml")[0] == 0


def test_networks_that_learn_features_from_toml(folder, call):
    (folder / "mlp.toml").write_text(EVOLUTION, encoding="utf-8")
    stated = problem_file.read("mlp.toml")
    assert stated.problem.data == dmft.datasets.binary_digits((3, 8), samples=4, test_samples=2, seed=1, norm=8.0)
    assert stated.problem.options["replicas"] == 4 and stated.simulate["kernel_times"] == [0, 3]
    status, text, _ = call("solve", "mlp.toml")
    assert status == 0 and "train theory" in text and "4 replicas of 256 samples" in text
    assert call("plot", "mlp.h5")[0] == 0 and (folder / "mlp.png").stat().st_size > 10_000
    status, text, _ = call("simulate", "mlp.toml", "--out", "networks.h5")
    assert status == 0 and "width 64" in text
    assert call("plot", "networks.h5")[0] == 0
    assert call("plot", "mlp.h5", "networks.h5", "--out", "both.png")[0] == 0
    assert "gradient kernel 1" in call("compare", "mlp.toml", "--overwrite")[1]
    status, text, _ = call("compare", "mlp.h5", "--width", "32", "--out", "narrow.h5")
    assert status == 0 and "8 seeds, width 32" in text and "train loss" in text


@pytest.mark.parametrize("text", [DEEP, CLASSES], ids=["two classes", "three classes"])
def test_deep_networks_from_toml(folder, call, text):
    (folder / "deep.toml").write_text(text, encoding="utf-8")
    stated = problem_file.read("deep.toml")
    options = {"samples": 8, "test_samples": 5}
    if text is DEEP:
        assert stated.problem.network == dmft.DeepNet(2, "ip-llr")
        assert stated.problem.data == dmft.datasets.binary_digits((4, 9), **options)
    else:
        assert stated.problem.network.abc.scaling == dmft.parameterization("mup", 2).scaling
        assert stated.problem.data == dmft.datasets.one_hot_digits((4, 9, 0), **options)
    assert stated.coordinate_check == {"widths": [32, 64, 128], "seeds": 4}
    status, shown, _ = call("solve", "deep.toml")
    assert status == 0 and "test theory" in shown
    status, shown, _ = call("simulate", "deep.toml", "--out", "networks.h5")
    assert status == 0 and "width 40" in shown
    for name in ("deep", "networks"):
        assert call("plot", f"{name}.h5")[0] == 0 and (folder / f"{name}.png").stat().st_size > 10_000
    status, shown, _ = call("compare", "deep.toml", "--overwrite")
    assert status == 0 and re.search("Theory and networks(: cannot tell| agree| differ)", shown)


def test_a_file_with_exponents_opens_in_a_new_process(folder, call):
    (folder / "deep.toml").write_text(CLASSES, encoding="utf-8")
    call("solve", "deep.toml")
    program = [sys.executable, "-c", "import dmft; print(dmft.load('deep.h5').network.abc.depth)"]
    run = subprocess.run(program, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert run.stdout == "2\n"


def test_coordinate_check_prints_its_table_and_fails_with_status_1(folder, call, monkeypatch):
    (folder / "deep.toml").write_text(DEEP.replace("ip-llr", "ntk").replace("[6.0, 0.2, 0.2]", "0.2"), encoding="utf-8")
    status, shown, _ = call("coordinate-check", "deep.toml", "--out", "check.png")
    assert status == 0 and "Coordinate check: PASS" in shown and "change of h" in shown
    assert (folder / "check.png").stat().st_size > 10_000
    monkeypatch.setattr(dmft.CoordinateCheck, "passed", False)
    assert call("coordinate-check", "deep.toml")[0] == 1


BAD = {
    "no such file": (None, "No such file"),
    "not toml": ("[network", "Expected"),
    "missing table": (
        ISOTROPIC.replace("[data]", "[solve]").replace('type = "GaussianData"', "").split("sample_ratio")[0],
        r"\[data\] is missing",
    ),
    "unknown table": (ISOTROPIC + "[plot]\n", "unknown table: plot; valid are network, data, training, solve, simulate, coordinate_check"),
    "not a table": ("network = 3\n", r"network must be a table, \[network\]; got 3"),
    "unknown option": (ISOTROPIC + "size = 3\n", r"unknown key under \[simulate\]: size"),
    "unknown type": (ISOTROPIC.replace("DeepLinear", "Deep"), "type must be one of .*DeepLinear.*; got 'Deep'"),
    "unknown field": (ISOTROPIC.replace("depth", "layers"), "DeepLinear has no field 'layers'"),
    "missing field": (ISOTROPIC.replace("depth = 1", ""), "depth"),
    "bad value": (ISOTROPIC.replace("steps = 10", "steps = -1"), "steps must be an integer >= 1; got -1"),
    "wrong kind": (
        ISOTROPIC.replace("GaussianData", "GradientDescent").replace(
            "sample_ratio = 2.0\nlabel_noise = 0.3", "learning_rate = 1.0\nsteps = 1"
        ),
        "data must be",
    ),
    "bad method": (ISOTROPIC + '[solve]\nmethod = "magic"\n', "method must be"),
    "bad classes": (DIGITS.replace("[3, 8]", "[3, 3]"), "classes must be"),
    "bad digits key": (DIGITS.replace("classes", "digits"), "unknown key of data"),
    "images without digits": (ISOTROPIC + "images = true\n", "images = true"),
    "dim of a ShallowNet": (
        SHALLOW + "dim = 3\n",
        r"unknown key under \[simulate\]: dim; valid are seeds, rng, workers, width, loss, track, allow_unstable",
    ),
    "width of a DeepLinear": (ISOTROPIC + "[solve]\nwidth = 3\n", r"unknown key under \[solve\]: width; valid are method, out"),
    "digits key of a DeepLinear": (
        SHALLOW.replace("flipped", "sample_ratio"),
        'unknown key of data of type "digits": sample_ratio; valid are classes, samples, test_samples, flipped, seed',
    ),
    "unknown option of an MLP": (
        EVOLUTION.replace("replicas", "repeats"),
        r"unknown key under \[solve\]: repeats; valid are method, out, loss, samples, rng, replicas, tolerance, track, mc_error",
    ),
    "option of another method": (
        EVOLUTION.replace("replicas", 'method = "ntk", replicas'),
        "method 'ntk' for a MLP",
    ),
    "three classes": (SHALLOW.replace("[3, 8]", "[3, 5, 8]"), "classes must be two different digits"),
    "bad exponent": (SHALLOW.replace('"-1"', '"half"'), "q_sigma must be"),
    "check of another network": (
        SHALLOW + "[coordinate_check]\nseeds = 3\n",
        r"unknown key under \[coordinate_check\]: seeds; valid are none",
    ),
    "width of a DeepNet's limit": (
        DEEP.replace("samples = 1024", "width = 9"),
        r"unknown key under \[solve\]: width; valid are method, out, loss, samples, rng, initial_function",
    ),
    "bad check": (DEEP.replace("[coordinate_check]", "[coordinate_check]\ndepth = 3"), "unknown key .* valid are widths, seeds, rng, loss"),
    "flipped one-hot labels": (CLASSES.replace("classes =", "flipped = 0.1\nclasses ="), "valid are classes, samples, test_samples, seed"),
    "bad parameterization": (DEEP.replace("ip-llr", "ip"), "parameterization must be one of"),
    "bad loss": (SHALLOW.replace("[solve]", '[solve]\nloss = "l1"'), "loss must be one of"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_input_ends_with_one_line_and_status_2(folder, call, text, message):
    if text is not None:
        (folder / "bad.toml").write_text(text, encoding="utf-8")
    status, _, error = call("compare", "bad.toml")
    assert status == 2
    assert re.fullmatch(f"dmft: .*{message}.*\n", error)


def test_a_file_that_is_no_trajectory_is_bad_input(folder, call):
    for command in ("info", "plot", "compare"):
        (folder / "run.h5").write_text("not HDF5", encoding="utf-8")
        status, _, error = call(command, "run.h5")
        assert status == 2 and error.startswith("dmft: ") and error.count("\n") == 1


def test_a_solver_that_fails_has_status_1(folder, call, monkeypatch):
    def fail(*arguments, **options):
        raise dmft.SolverError("no convergence\nafter 3 sweeps")

    monkeypatch.setattr(dmft, "solve", fail)
    assert call("solve", "run.toml") == (1, "", "dmft: no convergence after 3 sweeps\n")


@pytest.mark.skipif(os.name == "nt", reason="signals are sent differently on Windows")
def test_ctrl_c_has_status_130_and_leaves_a_file_to_resume(folder):
    (folder / "long.toml").write_text(ISOTROPIC.replace("steps = 10", "steps = 3000"), encoding="utf-8")
    command = [sys.executable, "-c", "from dmft.cli import main; main()", "solve", "long.toml"]
    program = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (folder / "long.h5").exists():
        assert program.poll() is None
        time.sleep(0.1)
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=60) == 130
    assert dmft.load("long.h5").status is dmft.Status.INTERRUPTED


@pytest.mark.slow
def test_quickstart_writes_files_that_open(folder, call):
    status, text, _ = call("quickstart", "--out", "results")
    assert status == 0 and "max |z|" in text
    for name in ("isotropic.h5", "digits.h5", "quickstart.png"):
        assert str(folder / "results" / name).endswith(name) and f"results/{name}" in text.replace(os.sep, "/")
    assert dmft.load("results/digits.h5").status is dmft.Status.COMPLETED
