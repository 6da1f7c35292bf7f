"""Ctrl-C: what is finished is kept, `dmft.Interrupted` is raised, loops stop; the program ends with one line and status 130."""

import importlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft import interruption

ROOT = Path(__file__).parents[1]
LINEAR = dmft.DeepLinear(1), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(0.05, 8)
IMAGES = dmft.datasets.binary_digits((3, 8), samples=6)
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals are sent differently on Windows")


def interrupt_training(monkeypatch, networks):
    """Ctrl-C while the network after so many is trained, counted over all simulations."""
    for name in ("deep_linear", "deep", "shallow"):
        module, trained = importlib.import_module(f"dmft.simulations.{name}"), []

        def train(*arguments, train=module._train, trained=trained):
            if len(trained) == networks:
                raise KeyboardInterrupt
            trained.append(arguments)
            return train(*arguments)

        monkeypatch.setattr(module, "_train", train)


def test_simulate_keeps_the_networks_that_are_trained(monkeypatch):
    expected = dmft.simulate(*LINEAR, dim=20, seeds=3, progress=False)
    interrupt_training(monkeypatch, 3)
    with pytest.raises(dmft.Interrupted, match="3 of 5 networks are trained; they are the result") as stop:
        dmft.simulate(*LINEAR, dim=20, seeds=5, progress=False)
    np.testing.assert_array_equal(stop.value.result.test_loss, expected.test_loss)
    assert stop.value.result.seeds == 3 and stop.value.result.rng == expected.rng


def test_simulate_without_a_finished_network_has_no_result(monkeypatch):
    interrupt_training(monkeypatch, 0)
    with pytest.raises(dmft.Interrupted, match="0 of 2 networks are trained$") as stop:
        dmft.simulate(*LINEAR, dim=20, seeds=2, progress=False)
    assert stop.value.result is None


def test_compare_keeps_the_ensembles_of_all_sizes(monkeypatch):
    trajectory = dmft.solve(*LINEAR, progress=False)
    ensemble = dmft.simulate(*LINEAR, dim=20, seeds=3, progress=False)
    interrupt_training(monkeypatch, 7)
    with pytest.raises(dmft.Interrupted, match="compare takes them") as stop:
        dmft.compare(trajectory, ensemble, dims=[10, 5], progress=False)
    assert [(e.dim, e.seeds) for e in stop.value.result] == [(20, 3), (10, 6), (5, 1)]


def test_compare_keeps_the_theories_of_single_networks(monkeypatch):
    problem = dmft.DeepNet(1, "ntk"), IMAGES, dmft.GradientDescent(0.1, 2)
    trajectory = dmft.solve(*problem, progress=False)
    ensemble = dmft.simulate(*problem, width=30, seeds=3, progress=False)
    functions, solved = importlib.import_module("dmft.comparisons.functions"), []

    def solve(*arguments, **options):
        if len(solved) == 2:
            raise KeyboardInterrupt
        solved.append(dmft.solve(*arguments, **options))
        return solved[-1]

    monkeypatch.setattr(functions, "solve", solve)
    with pytest.raises(dmft.Interrupted) as stop:
        dmft.compare(trajectory, ensemble, progress=False)
    assert stop.value.result == solved and len(solved) == 2


def test_width_experiments_keep_their_ensembles(monkeypatch):
    options = {"seeds": 2, "progress": False}
    shallow = dmft.ShallowNet.mean_field(), IMAGES, dmft.GradientDescent(1.0, 2)
    deep = dmft.DeepNet(2, "mup"), IMAGES, dmft.GradientDescent(0.1, 2)
    interrupt_training(monkeypatch, 3)
    for experiment, problem, widths in ((dmft.width_exponents, shallow, [16, 32, 64]), (dmft.coordinate_check, deep, [16, 32, 64])):
        with pytest.raises(dmft.Interrupted, match="ensembles by then") as stop:
            experiment(*problem, widths=widths, **options)
        assert [(e.width, e.seeds) for e in stop.value.result] == [(16, 2), (32, 1)]


@POSIX
def test_ctrl_c_waits_for_the_end_of_a_write_and_is_not_lost():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interruption.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("the write")
    assert done == ["the write"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@POSIX
def test_a_second_ctrl_c_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interruption.deferred():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            done.append("the write")
    assert not done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@POSIX
def test_a_write_that_is_broken_off_leaves_the_write_before(tmp_path, monkeypatch):
    """Ctrl-C during a write, and again during the last write: the file holds the first rows, the exception holds all."""
    storage = importlib.import_module("dmft.storage")
    monkeypatch.setattr(importlib.import_module("solvers.causal_linear"), "_SECONDS", 1e6)
    monkeypatch.setattr(storage, "_PAUSE", 0.0)
    monkeypatch.setattr(storage, "_PAUSE_PER_WRITE", 0.0)
    write, calls = storage.LiveFile.write, []

    def impatient(self, trajectory):
        calls.append(trajectory)
        for _ in range((0, 1, 2)[len(calls) - 1]):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        write(self, trajectory)

    monkeypatch.setattr(storage.LiveFile, "write", impatient)
    path = tmp_path / "run.h5"
    with pytest.raises(dmft.Interrupted, match="128 of 300 rows are solved; .*run.h5 holds those of an earlier write") as stop:
        dmft.solve(*LINEAR[:2], dmft.GradientDescent(0.05, 299), progress=False, out=path)
    stored = dmft.load(path)
    assert stored.finished == 128 == stop.value.result.finished and stored.status is dmft.Status.INTERRUPTED
    assert os.listdir(tmp_path) == ["run.h5"]


# ---- processes


WORKERS = """
import dmft
try:
    problem = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(0.05, 200)
    dmft.simulate(*problem, dim=100, seeds=10_000, workers=2, progress=False)
except dmft.Interrupted as stop:
    print(stop, stop.result is not None and stop.result.seeds)
"""
PROBLEM = """
network = { type = "DeepLinear", depth = 2 }
data = { type = "GaussianData", sample_ratio = 1.5 }
training = { type = "GradientDescent", learning_rate = 0.05, steps = 2000 }
simulate = { dim = 100, seeds = 10_000 }
"""


def start(tmp_path, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, cwd=tmp_path, start_new_session=True, **pipes)


def ended(process, patience=60):
    """Output and errors of a process that is to end soon; it must not hang."""
    try:
        return process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@POSIX
@pytest.mark.slow
def test_ctrl_c_stops_the_workers_of_a_simulation(tmp_path):
    """Sent to all processes of the group, as terminals do."""
    process = start(tmp_path, "-c", WORKERS)
    time.sleep(12)
    os.killpg(process.pid, signal.SIGINT)
    out, err = ended(process)
    ours = [line for line in err.splitlines() if "resource_tracker" not in line]  # joblib's may find its folders removed already
    assert process.returncode == 0 and "of 10000 networks are trained" in out and not ours, (out, err)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("workers are left")


def said(err):
    """Lines of the standard error without progress bars."""
    return [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "/s]" not in line and "?" not in line]


@POSIX
@pytest.mark.parametrize("command", [("solve", "run.toml"), pytest.param(("simulate", "run.toml"), marks=pytest.mark.slow)])
def test_a_storm_of_interrupts(tmp_path, command):
    """At random moments, from when our first line runs on: status 130 (or death by the signal, the same for shells), at most one line."""
    (tmp_path / "run.toml").write_text(PROBLEM, encoding="utf-8")
    moments = random.Random(0)
    for _ in range(6):
        process = start(tmp_path, "-m", "dmft", *command)
        time.sleep(moments.uniform(0.6, 4.0))
        process.send_signal(signal.SIGINT)
        _, err = ended(process)
        assert process.returncode in (130, -signal.SIGINT) and len(said(err)) <= 1, err
        assert all(line.startswith("dmft: interrupted") for line in said(err))
        for file in tmp_path.glob("*.h5"):
            result = dmft.load(file)
            assert isinstance(result, dmft.Ensemble) or result.status is dmft.Status.INTERRUPTED
            file.unlink()
