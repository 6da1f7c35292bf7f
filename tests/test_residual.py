"""Residual networks: exact limits, finite networks, and all that a trajectory can do."""

import math

import numpy as np
import pytest

import dmft
import systems

RESNET, GD = dmft.DeepLinearResNet, dmft.GradientDescent
DATA = dmft.GaussianData(2.0, 0.3)


def solve(*problem, **options):
    return dmft.solve(*problem, progress=False, **options)


# ---- exact limits


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("outputs", [1, 2])
def test_initial_loss(exponent, outputs):
    """tr Omega + C (1 + beta^2)^Lb / (gamma^2 nu)."""
    network = RESNET(5, 0.5, 2.0, 0.7, exponent, outputs)
    found = solve(network, DATA, GD(0.01, 1)).test_loss[0]
    assert found == pytest.approx(outputs * (1 + (1 + network.branch**2) ** 5 / (2.0**2 * 0.5)), rel=1e-13)


@pytest.mark.parametrize("training", [dict(), dict(momentum=0.8), dict(learning_rate=lambda t: 0.05 / (1 + t / 10))])
@pytest.mark.parametrize("depth, exponent, data", [(1, 0.5, DATA), (4, 0.5, dmft.GaussianData(0.7, 0.3)), (3, 0.0, dmft.GaussianData())])
def test_lazy_training_is_linear_regression(depth, exponent, data, training):
    network = RESNET(depth, math.inf, branch_scale=0.6, depth_exponent=exponent, parameterization="ntk")
    training = GD(**dict(learning_rate=0.05, steps=60) | training)
    trajectory = solve(network, data, training)
    for found, expected in zip((trajectory.test_loss, trajectory.train_loss), systems.lazy(network, data, training)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * expected[0])


def test_vanishing_branches_leave_one_hidden_layer():
    """All states are then the first; every order is beta^2."""
    training, plain = GD(0.05, 40), solve(dmft.DeepLinear(1, 0.5), DATA, GD(0.05, 40)).test_loss
    distances = [np.abs(solve(RESNET(3, 0.5, branch_scale=b), DATA, training).test_loss - plain).max() for b in (0.04, 0.02, 0.01)]
    np.testing.assert_allclose(np.log2(np.divide(distances[:-1], distances[1:])), 2.0, atol=0.01)


# ---- finite networks

OVERLAP = np.array([[1.0, 0.6], [0.6, 1.0]])
CASES = {
    "4 branches": (RESNET(4, branch_scale=1.0), DATA, GD(0.015, 40), 200, 64),
    "8 branches": (RESNET(8, branch_scale=1.0), DATA, GD(0.015, 40), 200, 48),
    "16 branches": (RESNET(16, branch_scale=1.0), DATA, GD(0.015, 40), 200, 32),
    "4 constant branches": (RESNET(4, branch_scale=0.4, depth_exponent=0), DATA, GD(0.008, 40), 200, 64),
    "8 constant branches": (RESNET(8, branch_scale=0.4, depth_exponent=0), DATA, GD(0.008, 40), 200, 48),
    "16 constant branches": (RESNET(16, branch_scale=0.4, depth_exponent=0), DATA, GD(0.006, 40), 200, 32),
    "two outputs, momentum, decay": (
        RESNET(3, 1.0, 0.8, outputs=2),
        dmft.StructuredData([2.0, 0.5], [OVERLAP, np.diag([0.3, 1.5])], [1 / 3, 2 / 3], sample_ratio=1.5, label_noise=0.3),
        GD(0.015, 40, momentum=0.5, weight_decay=0.1),
        240,
        48,
    ),
    "random subsets": (RESNET(3, 0.5), DATA, dmft.MinibatchSGD(0.02, 40, batch_fraction=0.25), 240, 64),
    "online": (RESNET(3, 1.0), dmft.GaussianData(label_noise=0.3), dmft.OnlineSGD(0.02, 40, 2.0), 200, 64),
}


def zscores(trajectory, networks):
    """Largest deviation of either loss over time, in standard errors."""
    found = []
    for name in ("test_loss", "train_loss"):
        losses = getattr(networks, name)
        error = losses.std(axis=0, ddof=1) / np.sqrt(len(losses))
        found.append(np.abs(losses.mean(axis=0) - getattr(trajectory, name)) / error)
    return np.array(found)


@pytest.mark.parametrize("name", CASES)
def test_finite_networks_agree(name):
    *problem, dim, seeds = CASES[name]
    networks = dmft.simulate(*problem, dim=dim, seeds=seeds, rng=list(CASES).index(name), progress=False)
    assert zscores(solve(*problem), networks).max() < 4


# ---- all that a trajectory can do


def test_methods_resume_files_and_plots(tmp_path):
    problem, run = (RESNET(3, 0.5, 1.2, 0.8), dmft.GaussianData(1.5, 0.3)), GD(0.02, 80)
    whole = solve(*problem, run)
    twin = solve(*problem, run, method="reference")
    np.testing.assert_allclose(whole.test_loss, twin.test_loss, rtol=1e-10)
    solve(*problem, GD(0.02, 30), out=tmp_path / "run.h5")
    resumed = dmft.resume(tmp_path / "run.h5", steps=80, progress=False)
    np.testing.assert_allclose(resumed.test_loss, whole.test_loss, rtol=1e-10)
    assert dmft.load(tmp_path / "run.h5") == resumed
    assert [whole.correlation("h", layer=l)[5, 5] < whole.correlation("h", layer=l + 1)[5, 5] for l in (1, 2, 3)] == [True] * 3
    with pytest.raises(ValueError, match="layer must be an integer from 1 to 4 for 'g'; got 5"):
        whole.response("g", layer=5)
    networks = dmft.simulate(*problem, run, dim=40, seeds=4, progress=False)
    assert dmft.compare(whole, networks, progress=False).outcome in ("agree", "cannot tell")
    assert len(dmft.plot.overview(whole, networks).axes) >= 9


def test_problem_files(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[network]\ntype = "DeepLinearResNet"\ndepth = 2\n[data]\ntype = "GaussianData"\nsample_ratio = 2.0\n'
        '[training]\ntype = "GradientDescent"\nlearning_rate = 0.02\nsteps = 5\n[simulate]\ndim = 20\ndims = [10]\n'
    )
    from dmft import problem_file

    read = problem_file.read(tmp_path / "run.toml")
    assert read.problem.network == RESNET(2) and read.compare == {"dims": [10]}
