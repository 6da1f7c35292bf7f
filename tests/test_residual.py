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


# ---- finite networks; their bias grows with depth and falls as 1/D: 4% at 16 branches of 0.4 and D = 128

OVERLAP = np.array([[1.0, 0.6], [0.6, 1.0]])
CASES = {
    "4 branches": (RESNET(4, branch_scale=1.0), DATA, GD(0.015, 40), 160, 48),
    "8 branches": (RESNET(8, branch_scale=1.0), DATA, GD(0.015, 40), 160, 32),
    "16 branches": (RESNET(16, branch_scale=1.0), DATA, GD(0.015, 40), 160, 60),
    "4 constant branches": (RESNET(4, branch_scale=0.4, depth_exponent=0), DATA, GD(0.008, 40), 160, 48),
    "8 constant branches": (RESNET(8, branch_scale=0.4, depth_exponent=0), DATA, GD(0.008, 40), 160, 32),
    "16 constant branches": (RESNET(16, branch_scale=0.4, depth_exponent=0), DATA, GD(0.006, 40), 200, 60),
    "two outputs, momentum, decay": (
        RESNET(3, 1.0, 0.8, outputs=2),
        dmft.StructuredData([2.0, 0.5], [OVERLAP, np.diag([0.3, 1.5])], [1 / 3, 2 / 3], sample_ratio=1.5, label_noise=0.3),
        GD(0.015, 40, momentum=0.5, weight_decay=0.1),
        200,
        32,
    ),
    "random subsets": (RESNET(3, 0.5), DATA, dmft.MinibatchSGD(0.02, 40, batch_fraction=0.25), 200, 40),
    "online": (RESNET(3, 1.0), dmft.GaussianData(label_noise=0.3), dmft.OnlineSGD(0.02, 40, 2.0), 160, 48),
}


def zscores(trajectory, networks):
    """Largest deviation of either loss over time, in standard errors."""
    found = []
    for name in ("test_loss", "train_loss"):
        losses = getattr(networks, name)
        error = losses.std(axis=0, ddof=1) / np.sqrt(len(losses))
        found.append(np.abs(losses.mean(axis=0) - getattr(trajectory, name)) / error)
    return np.array(found)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("16") else ()) for name in CASES])
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


# ---- infinite depth

DEEP = RESNET(math.inf, branch_scale=0.7)
SETTING = dmft.GaussianData(2.0, 0.2), GD(0.015, 40)


@pytest.fixture(scope="module")
def finite():
    """Both losses at finite depths."""
    found = {depth: solve(RESNET(depth, branch_scale=0.7), *SETTING) for depth in (8, 16, 32, 64, 128)}
    return {depth: np.array([trajectory.test_loss, trajectory.train_loss]) for depth, trajectory in found.items()}


@pytest.fixture(scope="module")
def limit():
    return solve(DEEP, *SETTING)


def test_infinite_depth_is_the_limit(finite, limit):
    """Errors of order 1/depth are removed one after the other; what is left is below the stated estimate, and not far below."""
    losses, once = np.array([limit.test_loss, limit.train_loss]), {d: 2 * finite[2 * d] - finite[d] for d in (8, 16, 32, 64)}
    twice = {d: (4 * once[2 * d] - once[d]) / 3 for d in (8, 16, 32)}
    exact = (8 * twice[32] - twice[16]) / 7
    raw, single, double = ([np.abs(x[d] - exact).max() for d in (8, 16)] for x in (finite, once, twice))
    np.testing.assert_allclose([np.log2(a / b) for a, b in (raw, single, double)], [1, 2, 3], atol=0.15)
    assert np.abs(losses - exact).max() == pytest.approx(double[0], rel=0.1)
    assert np.all(np.abs(losses - exact) < limit.loss_error) and limit.loss_error.max() < 30 * double[0]
    assert limit.report["depths"] == [8, 16, 32] and "unsettled_from" not in limit.report
    assert limit.test_loss[0] == pytest.approx(1 + math.exp(0.7**2), abs=1e-5)


def test_states_at_infinite_depth_are_those_at_their_layer_times(limit):
    np.testing.assert_array_equal(limit.layer_times, np.arange(9) / 8)
    deep = solve(RESNET(64, branch_scale=0.7), *SETTING)
    for name in ("h", "g"):
        for read in ("correlation", "response"):
            for layer in (1, 4, 9):
                found = getattr(limit, read)(name, layer=layer)
                near = getattr(deep, read)(name, layer=1 + 8 * (layer - 1))
                assert np.abs(found - near).max() < 0.02 * np.abs(near).max()


def test_infinite_depth_near_the_edge_goes_deeper_and_says_what_it_reaches():
    with pytest.warns(dmft.DepthWarning, match="up to 64 branches, from step 3 on") as caught:
        found = solve(RESNET(math.inf), dmft.GaussianData(2.0, 0.2), GD(0.05, 20))
    assert caught[0].filename == __file__
    assert found.report["depths"] == [16, 32, 64] and found.report["unsettled_from"] == 3
    half, whole = (solve(RESNET(depth), dmft.GaussianData(2.0, 0.2), GD(0.05, 20)).test_loss for depth in (256, 512))
    assert np.all(np.abs(found.test_loss - (2 * whole - half)) < found.loss_error)


def test_infinite_depth_is_stored_resumed_and_drawn(tmp_path):
    data, run = dmft.GaussianData(1.5, 0.2), dmft.MinibatchSGD(0.02, 70, momentum=0.5)
    network = RESNET(math.inf, outputs=2, parameterization="ntk", branch_scale=0.5)
    whole = solve(network, data, run, out=tmp_path / "run.h5")
    assert dmft.load(tmp_path / "run.h5") == whole and "losses are within" in str(whole)
    with pytest.warns(dmft.RestartWarning):
        longer = dmft.resume(tmp_path / "run.h5", steps=90, progress=False)
    np.testing.assert_allclose(longer.test_loss[:71], whole.test_loss, rtol=1e-12)
    rows = [trajectory.finished for trajectory in dmft.march(network, data, run)]
    assert rows == [64, 71]
    dmft.plot.overview(whole)


def test_diverging_training_at_infinite_depth():
    found = solve(RESNET(math.inf), dmft.GaussianData(2.0), GD(0.9, 20))
    assert found.status is dmft.Status.DIVERGED and 0 < found.diverged_at < 20
    assert np.isinf(found.test_loss[found.diverged_at :]).all() and np.isfinite(found.test_loss[: found.diverged_at]).all()


def test_greater_depths_are_left_where_memory_is_short():
    problem = RESNET(math.inf), dmft.GaussianData(2.0, 0.2), GD(0.05, 20)
    least = dmft.memory_estimate(*problem)
    with pytest.warns(dmft.DepthWarning, match="up to 32 branches"):
        assert solve(*problem, memory_limit=1.01 * least).report["depths"] == [8, 16, 32]
    with pytest.raises(ValueError, match="memory_limit must cover"):
        solve(*problem, memory_limit=0.99 * least)


@pytest.mark.slow
def test_deep_networks_agree_with_infinite_depth(limit):
    """At 64 branches the theory is within 0.2% of the limit, below the standard error."""
    network = RESNET(64, branch_scale=0.7)
    networks = dmft.simulate(network, *SETTING, dim=128, seeds=16, rng=5, progress=False)
    assert zscores(solve(network, *SETTING), networks).max() < 4
    assert zscores(limit, networks).max() < 4
