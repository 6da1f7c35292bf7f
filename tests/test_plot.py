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


SMALL_OF_BOTH_SIGNS = np.array([1.0, 0.01, 0.01, -1e-5])


@pytest.mark.parametrize(
    ("values", "colours", "norm", "extend"),
    [
        ([0.8, 1.0], "viridis", "Normalize", "neither"),
        ([-0.5, 1.0], "RdBu_r", "Normalize", "neither"),
        ([-1e-5, 1.0], "RdBu_r", "Normalize", "neither"),
        (SMALL_OF_BOTH_SIGNS, "RdBu_r", "SymLogNorm", "neither"),
        ([0.01, 1.0], "viridis", "LogNorm", "neither"),
        ([1e-9, 1.0], "viridis", "LogNorm", "min"),
        ([-1e-12, 0.01, 1.0], "viridis", "LogNorm", "min"),
        ([0.0, 0.0], "viridis", "Normalize", "neither"),
        ([np.inf, 0.8, 1.0], "viridis", "Normalize", "neither"),
        ([np.inf], "viridis", "Normalize", "neither"),
    ],
)
def test_colour_scale_follows_the_values(values, colours, norm, extend):
    (scale,) = dmft.plot.heat_maps.colour_scales([[np.array(values)]])
    assert (scale.colours, type(scale.norm).__name__, scale.extend) == (colours, norm, extend)


def test_colours_of_opposite_signs_are_opposite_and_zero_is_their_middle():
    for values in (np.array([-0.5, 1.0]), SMALL_OF_BOTH_SIGNS):
        norm = dmft.plot.heat_maps.colour_scales([[values]])[0].norm
        assert norm(0.0) == pytest.approx(0.5)
        assert norm(values.min()) < 0.5
        np.testing.assert_allclose(norm(-values) + norm(values), 1.0)


@pytest.mark.parametrize("second", [[0.8, 1.0], [-0.5, 1.0], [0.001, 1.0], [0.0, 0.0]])
def test_colour_scales_of_maps_side_by_side_are_of_one_kind(second):
    scales = dmft.plot.heat_maps.colour_scales([[np.array([0.01, 2.0])], [np.array(second)]])
    assert len({scale.colours for scale in scales}) == 1
    if any(second):
        assert len({type(scale.norm) for scale in scales}) == 1
    assert [scale.norm.vmax for scale in scales] == [2.0, max(second)]


def test_negative_correlations_are_seen():
    run = dmft.GradientDescent(0.2, steps=30, momentum=0.9)
    trajectory = dmft.solve(dmft.DeepLinear(depth=1), dmft.GaussianData(), run, progress=False)
    correlation = trajectory.correlation("h", layer=1)
    assert correlation.min() < -1e-4 * correlation.max()
    (ax,) = dmft.plot.kernels(trajectory, names="h")
    np.testing.assert_array_equal(ax.images[0].get_array(), correlation)
    assert ax.images[0].norm(correlation.min()) < 0.5 < ax.images[0].norm(correlation.max())


@pytest.mark.parametrize("ends", [(0.97, 1.0), (0.4, 1.3), (3.0, 9.0), (0.8, 12.0), (0.03, 1.5), (1e-3, 0.5), (1e-9, 1.0), (0.35, 0.99)])
def test_logarithmic_axes_have_two_labels_or_more(ends):
    _, ax = plt.subplots()
    dmft.plot.ticks.log_axis(ax)
    ax.set_ylim(*ends)
    ax.figure.canvas.draw()
    shown = [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks() if ends[0] <= tick.get_loc() <= ends[1]]
    assert sum(map(bool, shown)) >= 2
    if ends[1] < 100 * ends[0]:
        places = [tick.get_loc() for tick in ax.yaxis.get_major_ticks()]
        np.testing.assert_allclose([float(text) for text in shown], [place for place in places if ends[0] <= place <= ends[1]])


def test_zscores_draws_both_losses_and_the_limit(trajectory, ensemble):
    verdict = dmft.compare(trajectory, ensemble)
    ax = dmft.plot.zscores(verdict)
    np.testing.assert_array_equal(line(ax, "test loss").get_ydata(), verdict.zscores)
    np.testing.assert_array_equal(line(ax, "train loss").get_ydata(), verdict.train_zscores)
    limit = max(row.critical for row in verdict.table if row.decides)
    assert np.nanmax(line(ax, "differs beyond").get_ydata()) == limit == -np.nanmin(line(ax, "differs beyond").get_ydata())
    assert ax.get_ylim()[1] > limit


def test_zscores_of_functions(evolution):
    verdict = dmft.compare(evolution, dmft.simulate(*EVOLUTION, width=50, seeds=3, progress=False), progress=False)
    ax = dmft.plot.zscores(verdict)
    np.testing.assert_array_equal(line(ax, "function, amplitude").get_ydata(), verdict.zscores)


def test_deviations_draw_every_row_of_the_table(evolution):
    networks = dmft.simulate(*EVOLUTION, width=50, seeds=3, track="kernels", progress=False)
    verdict = dmft.compare(evolution, networks, progress=False)
    figure = dmft.plot.agreement(verdict)
    ax = figure.axes[1]
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.name for row in verdict.table]
    assert [label.get_fontweight() == "bold" for label in ax.get_yticklabels()] == [row.decides for row in verdict.table]
    points = [container.lines[0].get_xdata()[0] for container in ax.containers if hasattr(container, "has_xerr")]
    np.testing.assert_allclose(points, [100 * row.deviation for row in verdict.table])
    bands = [bar.get_width() / 200 for bar in ax.patches]
    np.testing.assert_allclose(bands, [getattr(row, name) for name in ("detectable", "bias") for row in verdict.table])
    assert verdict.outcome in figure.get_suptitle()


def test_overview_holds_losses_and_all_maps(trajectory, tmp_path):
    figure = dmft.plot.overview(trajectory)
    assert len(figure.axes) == 1 + 4
    assert sum(len(ax.child_axes) for ax in figure.axes) == 4
    figure.savefig(tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 10_000


DIGITS = dmft.datasets.binary_digits(samples=16, test_samples=8)
SHALLOW_RUN = dmft.GradientDescent(2.0, steps=6)


@pytest.fixture(scope="module")
def function():
    return dmft.solve(dmft.ShallowNet.mean_field(), DIGITS, SHALLOW_RUN, samples=64, track="kernels", progress=False)


@pytest.fixture(scope="module")
def functions():
    return dmft.simulate(dmft.ShallowNet.mean_field(), DIGITS, SHALLOW_RUN, width=50, seeds=3, progress=False)


@pytest.fixture(scope="module")
def without_loss():
    return dmft.solve(dmft.ShallowNet.sym_default(), DIGITS, SHALLOW_RUN, samples=64, progress=False)


def test_loss_of_functions(function, functions):
    ax = dmft.plot.loss(function, functions)
    np.testing.assert_array_equal(line(ax, "test, theory").get_ydata(), function.test_loss)
    np.testing.assert_array_equal(line(ax, "train, theory").get_ydata(), function.train_loss)
    marks = line(ax, "train, 3 networks")
    np.testing.assert_allclose(marks.get_ydata(), functions.mean("train_loss")[marks.get_xdata()])


def test_loss_of_functions_that_have_none(without_loss, functions):
    for arguments in ((without_loss,), (without_loss, functions)):
        with pytest.raises(ValueError, match="which must name losses that exist, none.*solve with width=, or draw dmft.plot.logits"):
            dmft.plot.loss(*arguments)
    unlabelled = dmft.Dataset(DIGITS.x, DIGITS.y)
    trajectory = dmft.solve(dmft.ShallowNet.mean_field(), unlabelled, SHALLOW_RUN, samples=64, progress=False)
    assert [artist.get_label() for artist in dmft.plot.loss(trajectory).lines] == ["train, theory"]
    with pytest.raises(ValueError, match="which must name losses that exist, train; got test"):
        dmft.plot.loss(trajectory, which="test")


def test_predictions_are_of_both_labels(function, functions):
    ax = dmft.plot.predictions(function, functions, points=2)
    curves = [artist for artist in ax.lines if len(artist.get_xdata()) == 7 and artist.get_linestyle() == "-"]
    shown = [next(i for i, f in enumerate(function.predictions.T) if np.array_equal(f, curve.get_ydata())) for curve in curves]
    np.testing.assert_array_equal(DIGITS.y[shown], [-1, -1, 1, 1])
    assert len({curve.get_color() for curve in curves}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("$y_i = +1$") == 1
    marks = [container.lines[0] for container in ax.containers]
    np.testing.assert_allclose(marks[2].get_ydata(), functions.mean("predictions")[:, shown[2]])
    bands = [band for band in ax.collections if type(band).__name__.startswith(("PolyCollection", "FillBetween"))]
    assert len(bands) == 4


def test_predictions_of_other_data_are_refused(function):
    other = dmft.Dataset(DIGITS.x, -DIGITS.y)
    networks = dmft.simulate(dmft.ShallowNet.mean_field(), other, SHALLOW_RUN, width=20, seeds=1, progress=False)
    with pytest.raises(ValueError, match="ensemble must have the data of the trajectory"):
        dmft.plot.predictions(function, networks)


def test_predictions_of_real_labels_and_one_network():
    data = dmft.Dataset(DIGITS.x, np.linspace(-1, 1, 16))
    problem = dmft.ShallowNet.ntk(), data, dmft.GradientDescent(0.1, steps=3)
    networks = dmft.simulate(*problem, width=20, seeds=1, loss="mse", progress=False)
    ax = dmft.plot.predictions(dmft.solve(*problem, loss="mse", progress=False), networks)
    assert any("in" in text.get_text() for text in ax.get_legend().get_texts())


def test_logits_are_root_mean_squares(without_loss, functions):
    ax = dmft.plot.logits(without_loss)
    np.testing.assert_allclose(line(ax, "train, theory").get_ydata(), np.sqrt(np.mean(without_loss.predictions**2, axis=1)))
    marks = dmft.plot.logits(ensemble=functions).lines
    assert {artist.get_label() for artist in marks} == {f"{name}, 3 networks, width 50" for name in ("test", "train")}
    with pytest.raises(ValueError, match="trajectory and ensemble"):
        dmft.plot.logits()


def test_tangent_kernel_is_sorted_by_label(function, without_loss):
    axes = dmft.plot.tangent_kernel(function)
    first, last = (np.asarray(ax.images[0].get_array()) for ax in axes)
    assert first.shape == (16, 16)
    order = np.lexsort((function.predictions[-1], DIGITS.y))
    np.testing.assert_array_equal(last, function.tangent_grams[-1][np.ix_(order, order)])
    assert axes[0].images[0].norm is axes[1].images[0].norm
    with pytest.raises(ValueError, match='solve with track="kernels"'):
        dmft.plot.tangent_kernel(without_loss)
    with pytest.raises(ValueError, match="axes must hold 2 axes"):
        dmft.plot.tangent_kernel(function, axes=axes[:1])


def test_tangent_kernel_of_networks_is_the_lower_right_half(function):
    options = dict(width=50, seeds=3, track="kernels", progress=False)
    networks = dmft.simulate(dmft.ShallowNet.mean_field(), DIGITS, SHALLOW_RUN, **options)
    order = np.lexsort((function.predictions[-1], DIGITS.y))
    for axes in (dmft.plot.tangent_kernel(function, networks), dmft.plot.overview(function, networks).axes[2:]):
        for ax, t in zip(axes, (0, -1)):
            shown = np.asarray(ax.images[0].get_array())
            kernels = function.tangent_kernel()[t], networks.tangent_kernel()[:, t].mean(axis=0)
            theory, found = (kernel[np.ix_(order, order)] for kernel in kernels)
            np.testing.assert_allclose(shown[np.tril_indices(16)], theory[np.tril_indices(16)])
            np.testing.assert_allclose(shown[np.triu_indices(16, 1)], found[np.triu_indices(16, 1)])
        assert axes[0].get_ylabel() == "upper left: theory\nlower right: networks"


def test_overview_of_a_function(function, without_loss):
    assert len(dmft.plot.overview(function).axes) == 4
    left, right = dmft.plot.overview(without_loss).axes
    assert left.get_ylabel() == "root mean square of logits" and "logits" in right.get_ylabel()


def test_functions_that_diverge_are_drawn():
    problem = dmft.ShallowNet.ntk(), DIGITS, dmft.GradientDescent(1e40, steps=6)
    trajectory = dmft.solve(*problem, loss="mse", track="kernels", progress=False)
    assert trajectory.status is dmft.Status.DIVERGED
    figure = dmft.plot.overview(trajectory)
    figure.canvas.draw()


IMAGES = dmft.datasets.binary_digits(samples=6, test_samples=3, norm=8.0)
EVOLUTION = dmft.MLP(2, "tanh"), IMAGES, dmft.GradientDescent(0.2, steps=4)


@pytest.fixture(scope="module")
def evolution():
    return dmft.solve(*EVOLUTION, samples=256, progress=False)


def test_kernels_of_every_layer_before_and_after_training_and_between_times(evolution):
    axes = dmft.plot.kernels(evolution)
    rows = ((r"\Phi^{(%d)}_{0}", 0), (r"\Phi^{(%d)}_{4}", 4), ("G^{(%d)}", None))
    for (title, t), row in zip(rows, axes.reshape(3, 2)):
        for layer, ax in enumerate(row, start=1):
            assert title % layer in ax.get_title()
            shown = np.asarray(ax.images[0].get_array())
            if t is None:
                kernel = evolution.gradient_kernel(layer)
                expected = np.einsum("tisi->ts", kernel) / 6
            else:
                order = np.lexsort((evolution.predictions[-1], IMAGES.y))
                expected = evolution.feature_kernel(layer)[t, :, t][np.ix_(order, order)]
            np.testing.assert_allclose(shown, expected)
    assert axes[0].images[0].norm is axes[2].images[0].norm
    assert len(dmft.plot.kernels(evolution, names="gradients")) == 2
    with pytest.raises(ValueError, match="axes must hold 4 axes, 2 per layer; got 6"):
        dmft.plot.kernels(evolution, names=("features",), axes=axes)
    with pytest.raises(ValueError, match="names must be one of 'features', 'gradients'; got 'h'"):
        dmft.plot.kernels(evolution, names=("h",))
    with pytest.raises(ValueError, match="solve with track='kernels'"):
        dmft.plot.kernels(dmft.solve(*EVOLUTION, samples=256, track=None, progress=False))


@pytest.fixture(scope="module")
def evolved():
    options = dict(width=60, seeds=3, track="kernels", kernel_times=(0, 2, 4), progress=False)
    return dmft.simulate(*EVOLUTION, **options)


def test_kernels_of_networks_beside_the_theory(evolution, evolved):
    order = np.lexsort((evolution.predictions[-1], IMAGES.y))
    lower, upper = np.triu_indices(6, 1), np.tril_indices(6)
    axes = dmft.plot.kernels(evolution, evolved).reshape(3, 2)
    for row, t, k in zip(axes, (0, 4), (0, 2)):
        for layer, ax in enumerate(row, start=1):
            shown = np.asarray(ax.images[0].get_array())
            theory = evolution.feature_kernel(layer)[t, :, t][np.ix_(order, order)]
            found = evolved.feature_kernel(layer)[:, k, :, k].mean(axis=0)[np.ix_(order, order)]
            np.testing.assert_allclose(shown[upper], theory[upper])
            np.testing.assert_allclose(shown[lower], found[lower])
        assert row[0].get_ylabel() == "upper left: theory\nlower right: networks"
    for layer, ax in enumerate(axes[2], start=1):
        (circles,) = ax.collections
        places = circles.get_offsets()
        mean = np.einsum("ktisi->ts", evolved.gradient_kernel(layer)) / (3 * 6)
        np.testing.assert_allclose(circles.get_array(), mean[places[:, 1].astype(int) // 2, places[:, 0].astype(int) // 2])
        assert circles.norm is ax.images[0].norm and len(places) == 9 and "circles: networks" in ax.get_title()


def test_networks_are_drawn_at_the_times_that_they_recorded(evolution):
    networks = dmft.simulate(*EVOLUTION, width=60, seeds=2, track="kernels", kernel_times=(3, 4), progress=False)
    first, last = dmft.plot.kernels(evolution, networks, names="features").reshape(2, 2)
    assert first[0].get_ylabel() == "" and "networks" in last[0].get_ylabel()


def test_networks_of_another_problem_are_refused(evolution, evolved, trajectory, functions):
    other = dmft.solve(dmft.MLP(1, "tanh"), *EVOLUTION[1:], samples=128, progress=False)
    with pytest.raises(ValueError, match="ensemble must have the network of the trajectory; they differ"):
        dmft.plot.kernels(other, evolved)
    with pytest.raises(ValueError, match="ensemble must be None beside correlations"):
        dmft.plot.kernels(trajectory, evolved)
    with pytest.raises(TypeError, match="ensemble must be a KernelEnsemble; got FunctionEnsemble"):
        dmft.plot.kernels(evolution, functions)
    longer = dmft.simulate(*EVOLUTION[:2], dmft.GradientDescent(0.2, steps=5), width=60, seeds=2, progress=False)
    with pytest.raises(ValueError, match="ensemble must have the training of the trajectory"):
        dmft.plot.overview(evolution, longer)


def test_overview_with_networks(evolution, evolved, trajectory, ensemble, function, functions):
    figure = dmft.plot.overview(evolution, evolved)
    assert len(figure.axes) == 3 + 6
    assert any("3 networks" in artist.get_label() for artist in figure.axes[0].lines)
    assert len(figure.axes[1].containers) > 0 and len(figure.axes[2].containers) == 2 and len(figure.axes[-1].collections) == 1
    figure.canvas.draw()
    for first, second in ((trajectory, ensemble), (function, functions)):
        left = dmft.plot.overview(first, second).axes[0]
        assert any("networks" in artist.get_label() for artist in left.lines)


def test_outputs_are_named_by_the_loss(evolution, function, functions):
    assert dmft.plot.predictions(function).get_ylabel().startswith("normalised logits")
    assert dmft.plot.logits(ensemble=functions).get_ylabel() == "root mean square of logits"
    assert dmft.plot.predictions(evolution).get_ylabel().startswith("predictions $")
    assert dmft.plot.overview(evolution).axes[1].get_ylabel() == "predictions"
    squares = dmft.solve(dmft.ShallowNet.mean_field(), DIGITS, SHALLOW_RUN, loss="mse", samples=64, progress=False)
    assert dmft.plot.predictions(squares).get_ylabel().startswith("normalised predictions")
    assert dmft.plot.logits(squares).get_ylabel() == "root mean square of predictions"
    assert "\n  logits     mean size" in str(function) and "\n  predictions mean size" in str(squares)
    logistic = dmft.solve(*EVOLUTION, loss="logistic", samples=128, progress=False)
    assert dmft.plot.overview(logistic).axes[1].get_ylabel() == "logits"


@pytest.mark.parametrize("outputs", [1, 2])
def test_alignment_of_theory_and_networks(outputs):
    labels = IMAGES.y if outputs == 1 else np.stack((IMAGES.y, IMAGES.y > 0), axis=1)
    problem = dmft.MLP(2, "tanh", outputs=outputs), dmft.Dataset(IMAGES.x, labels), EVOLUTION[2]
    trajectory = dmft.solve(*problem, samples=256, progress=False)
    networks = dmft.simulate(*problem, width=2000, seeds=2, track="kernels", kernel_times=(0, 4), progress=False)
    ax = dmft.plot.alignment(trajectory, networks)
    np.testing.assert_array_equal(line(ax, "tangent kernel").get_ydata(), trajectory.alignment())
    for name, container in zip(("tangent", "features"), ax.containers):
        np.testing.assert_allclose(container.lines[0].get_ydata(), networks.alignment(name).mean(axis=0))
        np.testing.assert_allclose(networks.alignment(name).mean(axis=0), trajectory.alignment(name)[[0, 4]], atol=0.04)
    dmft.plot.overview(trajectory).canvas.draw()


def test_overview_of_kernel_evolution(evolution):
    figure = dmft.plot.overview(evolution)
    assert len(figure.axes) == 3 + 6 and figure.axes[2].get_ylabel() == "alignment with the labels"
    without = dmft.solve(*EVOLUTION, samples=256, track=None, progress=False)
    assert len(dmft.plot.overview(without).axes) == 2


def test_loss_has_a_band_of_its_monte_carlo_error(evolution):
    ax = dmft.plot.loss(evolution, which="train")
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx((evolution.train_loss - 2 * evolution.train_loss_error).min())


@pytest.mark.filterwarnings("error")
def test_kernel_evolution_that_diverges_is_drawn():
    problem = dmft.MLP(2, "relu"), IMAGES, dmft.GradientDescent(50.0, steps=10)
    trajectory = dmft.solve(*problem, samples=256, progress=False)
    networks = dmft.simulate(*problem, width=50, seeds=2, track="kernels", progress=False)
    assert trajectory.status is dmft.Status.DIVERGED and np.isinf(networks.train_loss[:, -1]).any()
    dmft.plot.overview(trajectory).canvas.draw()
    dmft.plot.alignment(trajectory, networks).figure.canvas.draw()
    assert dmft.compare(trajectory, networks, progress=False).diverged == (True, True)


def test_stable_polytope_draws_the_regions_and_named_points_of_the_cut():
    from dmft.parameterizations import stable_cut

    cut = stable_cut(3)
    ax = dmft.plot.stable_polytope(cut)
    assert {text.get_text() for text in ax.texts} == {"NTK", "µP", "not stable"}
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"stable, trivial", "kernel", "feature learning"}
    np.testing.assert_array_equal(ax.patches[0].get_xy()[:-1], np.array(cut.cut.regions["stable"][0], dtype=float))
    np.testing.assert_array_equal(line(ax, "kernel").get_xydata(), [[0, 0], [1, 0]])
    np.testing.assert_array_equal(line(ax, "feature learning").get_xydata(), [[1, 0]])


def test_stable_polytope_shows_which_named_points_are_stable():
    from dmft.parameterizations import stable_cut

    _, given = plt.subplots()
    assert dmft.plot.stable_polytope(stable_cut(2, "standard"), ax=given) is given
    filled = {tuple(artist.get_xydata()[0]): artist.get_markerfacecolor() for artist in given.lines if artist.get_marker() == "o"}
    assert filled == {(0.0, 0.0): "white", (0.0, 1.0): "black"}
    with pytest.raises(TypeError, match="cut must be a StableCut"):
        dmft.plot.stable_polytope("ntk-mup")


def test_several_outputs_show_the_size_of_their_logits():
    data = dmft.datasets.one_hot_digits((3, 5, 8), samples=6)
    problem = dmft.DeepNet(1, "ntk", "tanh", outputs=3), data, dmft.GradientDescent(0.5, steps=3)
    solved = dmft.solve(*problem, progress=False)
    _, second = dmft.plot.overview(solved).axes
    np.testing.assert_allclose(line(second, "train, theory").get_ydata(), np.sqrt(np.mean(solved.predictions**2, axis=(1, 2))))
    networks = dmft.simulate(*problem, width=20, seeds=2, progress=False)
    shown = dmft.plot.logits(ensemble=networks).lines[0].get_ydata()
    np.testing.assert_allclose(shown, np.sqrt(np.mean(networks.predictions**2, axis=(2, 3))).mean(axis=0))
    with pytest.raises(ValueError, match="trajectory must be of one output"):
        dmft.plot.predictions(solved)
