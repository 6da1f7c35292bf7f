"""Figures: what is drawn, where, and that nothing is shown or changed on the way."""

import matplotlib
import numpy as np
import pytest

import dmft

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

PROBLEM = (
    dmft.DeepLinear(depth=2, width_ratio=1.0),
    dmft.GaussianData(sample_ratio=2.0, label_noise=0.3),
    dmft.GradientDescent(0.05, steps=20),
)


@pytest.fixture(scope="module")
def trajectory():
    return dmft.solve(*PROBLEM, progress=False)


@pytest.fixture(scope="module")
def ensemble():
    return dmft.simulate(*PROBLEM, dim=40, seeds=4, progress=False)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def line(ax, label):
    return next(artist for artist in ax.lines if artist.get_label() == label)


def test_loss_draws_theory_and_networks(trajectory, ensemble):
    ax = dmft.plot.loss(trajectory, ensemble)
    np.testing.assert_array_equal(line(ax, "test, theory").get_ydata(), trajectory.test_loss)
    np.testing.assert_array_equal(line(ax, "train, theory").get_ydata(), trajectory.train_loss)
    marks = line(ax, "test, 4 networks")
    np.testing.assert_allclose(marks.get_ydata(), ensemble.mean("test_loss")[marks.get_xdata()])
    assert ax.get_yscale() == "log" and "step" in ax.get_xlabel() and ax.get_ylabel() == "loss"
    assert len(ax.collections) == 2


def test_loss_legend_stays_clear_of_the_data(trajectory, ensemble):
    ax = dmft.plot.loss(trajectory, ensemble)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1 - 1


def test_loss_uses_the_given_axes_and_leaves_the_style_alone(trajectory, ensemble):
    before = dict(matplotlib.rcParams)
    _, given = plt.subplots()
    assert dmft.plot.loss(trajectory, ax=given, which="train") is given
    assert [artist.get_label() for artist in given.lines] == ["train, theory"]
    assert dmft.plot.loss(ensemble=ensemble, ax=given) is given
    assert dict(matplotlib.rcParams) == before and len(plt.get_fignums()) == 1


def test_what_a_log_axis_cannot_show_is_left_out():
    ax = dmft.plot.loss(dmft.solve(PROBLEM[0], PROBLEM[1], dmft.GradientDescent(5.0, steps=20), progress=False))
    assert np.isfinite(line(ax, "test, theory").get_ydata()).any()
    assert np.all(np.isfinite(ax.get_ylim()))


def test_loss_errors_name_the_argument(trajectory):
    with pytest.raises(ValueError, match="trajectory and ensemble"):
        dmft.plot.loss()
    with pytest.raises(ValueError, match="which must be one of 'test', 'train'; got 'loss'"):
        dmft.plot.loss(trajectory, which=("loss",))


def test_kernels_draws_one_map_with_colour_bar_per_layer(trajectory):
    axes = dmft.plot.kernels(trajectory)
    assert [ax.get_title() for ax in axes] == [f"$C_{name}^{{({layer})}}(t, s)$" for name in "hg" for layer in (1, 2)]
    assert all(len(ax.child_axes) == 1 for ax in axes)
    shown = axes[2].images[0].get_array()
    np.testing.assert_array_equal(shown, trajectory.correlation("g", layer=1))
    assert axes[0].images[0].get_extent() == [-0.5, 20.5, -0.5, 20.5]
    assert all(float(label).is_integer() for label in axes[0].get_xticks())


def test_kernels_of_the_data_take_given_axes(trajectory):
    _, given = plt.subplots(1, 3)
    axes = dmft.plot.kernels(trajectory, names=("v", "delta", "u"), axes=given)
    assert list(axes) == list(given)
    with pytest.raises(ValueError, match="axes must hold 3 axes, one per map; got 2"):
        dmft.plot.kernels(trajectory, names=("v", "delta", "u"), axes=given[:2])


def test_kernels_of_several_outputs_are_their_mean():
    network = dmft.DeepLinear(depth=1, width_ratio=1.0, outputs=2)
    trajectory = dmft.solve(network, dmft.GaussianData(), dmft.GradientDescent(0.1, steps=5), progress=False)
    (ax,) = dmft.plot.kernels(trajectory, names="g")
    both = trajectory.correlation("g", layer=1)
    np.testing.assert_allclose(ax.images[0].get_array(), (both[:, 0, :, 0] + both[:, 1, :, 1]) / 2)


@pytest.mark.parametrize(
    ("values", "norm", "extend"),
    [
        ([0.8, 1.0], "Normalize", "neither"),
        ([-0.5, 1.0], "Normalize", "neither"),
        ([0.01, 1.0], "LogNorm", "neither"),
        ([-1e-5, 1.0], "LogNorm", "min"),
        ([0.0, 0.0], "Normalize", "neither"),
    ],
)
def test_colour_scale_follows_the_values(values, norm, extend):
    colours, scale, end = dmft.plot.dynamics.colour_scale(np.array(values))
    assert (type(scale).__name__, end) == (norm, extend)
    assert colours == ("RdBu_r" if min(values) < -0.1 else "viridis")


def test_zscores_draws_both_losses(trajectory, ensemble):
    verdict = dmft.compare(trajectory, ensemble)
    ax = dmft.plot.zscores(verdict)
    np.testing.assert_array_equal(line(ax, "test").get_ydata(), verdict.zscores)
    np.testing.assert_array_equal(line(ax, "train").get_ydata(), verdict.train_zscores)


def test_overview_holds_losses_and_all_maps(trajectory, tmp_path):
    figure = dmft.plot.overview(trajectory)
    assert len(figure.axes) == 1 + 4
    assert sum(len(ax.child_axes) for ax in figure.axes) == 4
    figure.savefig(tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 10_000
