"""What all results share: one vocabulary, printed forms, equality, arrays that cannot be written to, labelled data sets and tables."""

import copy
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft import curves
from dmft.parameterizations import stable_cut

RUN = dmft.GradientDescent(0.2, 3)
DATA = dmft.datasets.binary_digits((3, 8), samples=6, test_samples=2)
LONG = dmft.Dataset(8 * DATA.x, DATA.y, 8 * DATA.test_x, DATA.test_y)
PAIRS = dmft.Dataset(LONG.x, np.stack((LONG.y, np.arange(6) / 3 - 1), axis=1), LONG.test_x)
LINEAR = dmft.DeepLinear(2), dmft.GaussianData(2.0, 0.3), RUN
SHALLOW = dmft.ShallowNet.mean_field(), DATA, RUN
DEEP = dmft.DeepNet(2, "mup", "tanh"), DATA, RUN
MLP = dmft.MLP(2), LONG, RUN


def solve(*problem, **options):
    return dmft.solve(*problem, progress=False, **options)


def simulate(*problem, **options):
    return dmft.simulate(*problem, progress=False, seeds=2, **options)


TRAJECTORIES = {
    "linear": lambda: solve(*LINEAR),
    "linear, diverged": lambda: solve(*LINEAR[:2], dmft.GradientDescent(50.0, 6)),
    "linear, two outputs": lambda: solve(dmft.DeepLinear(1, outputs=2), *LINEAR[1:]),
    "shallow": lambda: solve(*SHALLOW, samples=64, track="kernels", initial_function=np.zeros(8)),
    "deep": lambda: solve(*DEEP, samples=1024),
    "mlp": lambda: solve(*MLP, samples=64, track="test kernels", preactivation_times=(0, 2)),
}
ENSEMBLES = {
    "linear": lambda: simulate(*LINEAR, dim=20),
    "shallow": lambda: simulate(*SHALLOW, width=16, track="kernels"),
    "deep": lambda: simulate(*DEEP, width=16, track="coordinates"),
    "mlp": lambda: simulate(*MLP, width=16, track="kernels"),
}
OTHERS = {
    "coordinate check": lambda: dmft.coordinate_check(*DEEP, widths=(8, 16, 32), seeds=2, progress=False),
    "width exponents": lambda: dmft.width_exponents(*SHALLOW, widths=(8, 16), seeds=2, progress=False),
    "width exponent": lambda: dmft.width_exponents(*SHALLOW, widths=(8, 16), seeds=2, progress=False)["logits"],
    "limits": dmft.limits.shallow,
    "deep limits": lambda: dmft.limits.deep(2, "layer-wise"),
    "limit class": lambda: dmft.limits.shallow()["M2"],
    "deep limit class": lambda: dmft.limits.deep(2).classify("-3/2", 1),
    "derivation": lambda: dmft.limits.shallow().derivation,
    "analysis": lambda: dmft.parameterization("ip-llr", 2).analyze(),
    "stable cut": lambda: stable_cut(2),
    "about": dmft.about,
}
SPECIFICATIONS = {
    "linear": LINEAR[0],
    "linear, ntk": dmft.DeepLinear(2, parameterization="ntk"),
    "shallow": dmft.ShallowNet("-1/2", ("1", "0")),
    "deep, exponents": dmft.DeepNet(2, dmft.parameterization("ip-llr", 2)),
    "abc": dmft.parameterization("hybrid-mup", 3),
    "mlp": dmft.MLP(1, dmft.Activation(np.sin, np.cos, name="sine")),
    "gaussian": LINEAR[1],
    "structured": dmft.StructuredData([1.0, 2.0], [1.0, 0.5]),
    "data set": DATA,
    "online": dmft.OnlineSGD([0.1, 0.2], 2),
    "minibatch": dmft.MinibatchSGD(0.1, 2, momentum=0.5),
}
RESULTS = {f"{kind}: {name}": make for kind, group in (("t", TRAJECTORIES), ("e", ENSEMBLES), ("", OTHERS)) for name, make in group.items()}
_made = {}


def made(name):
    if name not in _made:
        _made[name] = RESULTS[name]()
    return _made[name]


def saved(result, folder):
    result.save(folder / "result.h5")
    return dmft.load(folder / "result.h5")


COPIES = {"pickle": lambda r: pickle.loads(pickle.dumps(r)), "copy": copy.copy, "deepcopy": copy.deepcopy}
STORED = [name for name in RESULTS if not name.startswith(":")]


# ---- one vocabulary


@pytest.mark.parametrize("name", STORED)
def test_losses_have_the_same_names_everywhere(name):
    result = made(name)
    times = (len(result.times),) if name.startswith("t") else (2, len(result.times))
    assert result.train_loss.shape == times and result.loss is result.train_loss
    assert result.test_loss is None or result.test_loss.shape == times
    assert {"train_loss", "test_loss"} <= set(type(result).stored)


def first_step(problem, make):
    """Change of the function in a step too small for the kernel to change, over the rate, and the result it comes from."""
    rate = 1e-6
    result = make(*problem[:2], dmft.GradientDescent(rate, 1))
    change = result.function[..., 1, :] - result.function[..., 0, :]
    return change / rate, result


def test_tangent_kernel_of_a_limit_is_the_change_of_the_function():
    change, limit = first_step(SHALLOW, lambda *problem: solve(*problem, loss="mse", samples=64, track="kernels"))
    errors = (DATA.y - limit.predictions[0]) / 6
    np.testing.assert_allclose(limit.tangent_kernel(test=True)[0] @ errors, change, rtol=1e-5)
    np.testing.assert_array_equal(limit.tangent_kernel(), limit.tangent_kernel(test=True)[:, :6])
    with pytest.raises(ValueError, match="no tangent kernel"):
        made("t: deep").tangent_kernel()


def test_tangent_kernel_of_networks_is_the_change_of_their_function():
    change, networks = first_step(SHALLOW, lambda *problem: simulate(*problem, width=32, loss="mse", track="kernels"))
    errors = (DATA.y - networks.predictions[:, 0]) / 6
    np.testing.assert_allclose(np.einsum("spq,sq->sp", networks.tangent_kernel(test=True)[:, 0], errors), change, rtol=1e-4)
    change, networks = first_step(MLP, lambda *problem: simulate(*problem, width=32, track="kernels"))
    np.testing.assert_allclose(networks.tangent_kernel()[:, 0] @ LONG.y / 6, change[:, :6], rtol=1e-4)
    with pytest.raises(ValueError, match="test must be False"):
        networks.tangent_kernel(test=True)


def test_tangent_kernel_with_outputs_is_the_change_of_the_function():
    networks = simulate(dmft.MLP(2, outputs=2), PAIRS, dmft.GradientDescent(1e-6, 1), width=32, track="kernels")
    kernel, change = networks.tangent_kernel(), networks.predictions[:, 1] / 1e-6
    assert kernel.shape == (2, 2, 6, 2, 6, 2)
    np.testing.assert_allclose(np.einsum("spcqd,qd->spc", kernel[:, 0], PAIRS.y) / 6, change, rtol=1e-4)


def test_tangent_kernel_of_wide_networks_is_that_of_the_theory():
    problem = dmft.MLP(2, richness=2.0), LONG, dmft.GradientDescent(0.5, 6)
    theory = solve(*problem, samples=1024, track="test kernels")
    networks = dmft.simulate(*problem, width=512, seeds=8, track="kernels", kernel_times=(0, 6), progress=False)
    mean, error = networks.mean("tangent_kernel"), networks.standard_error("tangent_kernel")
    stated, uncertain = theory.tangent_kernel()[[0, 6]], theory.tangent_kernel_error()[[0, 6]]
    z = (mean - stated) / np.hypot(error, uncertain)
    assert np.abs(z[:, range(6), range(6)]).max() < 6 and np.mean(z**2) < 4  # Student's t of 7 degrees, 72 correlated entries
    assert np.abs(stated[1] - stated[0]).max() > 6 * np.hypot(error, uncertain).max()  # a kernel that stays would be seen
    assert theory.tangent_kernel(test=True).shape == theory.tangent_kernel_error(test=True).shape == (7, 8, 6)


def test_tangent_kernel_of_networks_gives_their_alignment():
    networks, y = made("e: mlp"), LONG.y
    np.testing.assert_array_equal(networks.alignment(), curves.alignment(networks.tangent_kernel(), np.outer(y, y)))


@pytest.mark.parametrize("outputs", [1, 2])
def test_tangent_kernel_is_the_sum_over_layers_in_theory_and_networks(outputs):
    problem = dmft.MLP(2, "linear", outputs=outputs), LONG if outputs == 1 else PAIRS, RUN
    for result, axis in ((solve(*problem, track="test kernels"), 0), (simulate(*problem, width=16, track="kernels"), 1)):
        times = np.arange(4)
        total = 0.0
        for layer in (1, 2, 3):
            phi = np.moveaxis(result.feature_kernel(layer - 1), (axis, axis + 2), (-2, -1))[..., times, times]
            g = result.gradient_kernel(layer)
            g = np.moveaxis(g, (axis, axis + (g.ndim - axis) // 2), (-2, -1))[..., times, times]
            total = total + (phi if outputs == 1 else phi[..., :, None, :, None, :]) * g
        np.testing.assert_allclose(np.moveaxis(total, -1, axis), result.tangent_kernel(), rtol=1e-10)


def test_kernels_of_networks_take_the_arguments_of_trajectories():
    networks, theory = made("e: mlp"), made("t: mlp")
    assert networks.feature_kernel(1, test=True).shape[1:] == theory.feature_kernel(1, test=True).shape
    np.testing.assert_array_equal(networks.feature_kernel(0, test=True)[1], theory.feature_kernel(0, test=True))
    np.testing.assert_array_equal(networks.gradient_kernel(3)[0], theory.gradient_kernel(3))
    assert theory.feature_kernel_error(1, test=True).shape == (4, 8, 8)
    for wrong, call in ((3, networks.feature_kernel), (0, networks.gradient_kernel), (4, networks.gradient_kernel)):
        with pytest.raises(ValueError, match=f"layer must be an integer.*got {wrong}"):
            call(wrong)
    with pytest.raises(ValueError, match="test must be False"):
        networks.gradient_kernel(1, test=True)


# ---- printed forms


@pytest.mark.parametrize("name", RESULTS)
def test_repr_is_one_short_line_and_notebooks_show_all(name):
    result = made(name)
    assert "\n" not in repr(result) and len(repr(result)) < 250 and "array(" not in repr(result)
    html = result._repr_html_()
    assert html.startswith("<pre>") and html.endswith("</pre>") and html.count("<") == 2
    assert str(result).splitlines()[0].strip() in repr(result)


def test_a_class_without_lines_of_its_own_shows_names_and_numbers():
    row = made(": coordinate check").row("change of h", layer=1, step=1)
    assert repr(row).startswith("<CoordinateRow: signal='change of h', layer=1, step=1, expected=Fraction(0, 1), slope=")


def test_printed_forms_are_escaped_in_notebooks():
    assert "Cov(F0(x), F0(x&#x27;))" in made(": limit class")._repr_html_()
    assert "-1/2 &lt; q_eta + q_sigma &lt; 0" in dmft.limits.shallow()["A5"]._repr_html_()


# ---- equality


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", RESULTS)
def test_copies_are_equal(name, way):
    result = made(name)
    other = COPIES[way](result)
    assert other == result
    if name != ": about":
        assert hash(other) == hash(result) and len({other, result}) == 1


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_copies_of_specifications_are_equal(name, way):
    spec = SPECIFICATIONS[name]
    other = COPIES[way](spec)
    assert other == spec and hash(other) == hash(spec) and repr(other) == repr(spec)
    for value in vars(other).values():
        assert not isinstance(value, np.ndarray) or not value.flags.writeable


@pytest.mark.parametrize("name", STORED)
def test_what_is_loaded_is_equal(name, tmp_path):
    assert saved(made(name), tmp_path) == made(name)


def test_time_taken_does_not_count_but_every_number_does():
    first, second = solve(*LINEAR), solve(*LINEAR)
    second.report["elapsed"] = 1e9
    assert first == second and first is not second
    near = np.array(first.test_loss)
    near[2] = np.nextafter(near[2], 1.0)
    changed = dict(first.kernels)
    changed["Ch"] = first.kernels["Ch"] + np.eye(4)
    for other in ({"test_loss": near}, {"kernels": changed}, {"method": "reference"}, {"training": dmft.GradientDescent(0.3, 3)}):
        assert replace(first, **other) != first
    assert first != simulate(*LINEAR, dim=20) and first != "a trajectory" and first != None  # noqa: E711
    assert simulate(*LINEAR, dim=20) == simulate(*LINEAR, dim=20) != simulate(*LINEAR, dim=20, rng=1)


def test_only_what_is_solved_counts():
    """Behind the diverging step, and above the diagonal, arrays of two-time functions hold what the solver left there."""
    result = made("t: linear, diverged")
    noise = {name: kernel + np.triu(np.ones(kernel.shape), 1) for name, kernel in result.kernels.items()}
    assert replace(result, kernels=noise) == result


# ---- arrays that cannot be written to


def arrays_of(result):
    nested = [result.options] if hasattr(result, "options") else []
    for value in (*result.arrays().values(), *(v for d in nested for v in d.values())):
        if isinstance(value, np.ndarray):
            yield value


@pytest.mark.parametrize("way", ["as returned", "loaded", *COPIES])
@pytest.mark.parametrize("name", STORED)
def test_arrays_cannot_be_written_to(name, way, tmp_path):
    result = made(name)
    result = saved(result, tmp_path) if way == "loaded" else COPIES.get(way, lambda r: r)(result)
    arrays = list(arrays_of(result))
    assert arrays
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0


def test_blocks_of_a_march_are_read_only_views_that_grow():
    blocks = list(dmft.march(dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.05, 200)))
    assert len(blocks) > 1 and all(not a.flags.writeable for block in blocks for a in block.arrays().values())
    first, last = blocks[0].kernels["Ch"], blocks[-1].kernels["Ch"]
    assert np.shares_memory(first, last) and first.shape < last.shape


def test_attributes_cannot_be_replaced():
    with pytest.raises(AttributeError):
        made("t: linear").test_loss = None


def test_arrays_are_not_copied():
    loss = np.ones((2, 4))
    given = {"test_loss": loss, "train_loss": loss, "dim": 4, "widths": (4, 4), "samples": 8, "inputs": None}
    ensemble = dmft.ensemble.LinearEnsemble(network=LINEAR[0], data=LINEAR[1], training=RUN, rng="", elapsed=0.0, **given)
    assert np.shares_memory(ensemble.test_loss, loss) and loss.flags.writeable


# ---- labelled data sets and tables


@pytest.mark.parametrize("name", STORED)
def test_data_sets_name_all_dimensions_as_identifiers(name):
    pytest.importorskip("xarray")
    result = made(name)
    view = result.to_xarray()
    assert all(dimension.isidentifier() and dimension in view.coords for dimension in view.dims)
    np.testing.assert_array_equal(view["time"], result.times)
    np.testing.assert_array_equal(view["train_loss"], result.train_loss)


def test_primed_dimensions_end_in_two():
    pytest.importorskip("xarray")
    assert made("t: linear").to_xarray()["C_h"].dims == ("layer", "time", "time_2")
    theory = made("t: mlp").to_xarray()["gradient_grams"]
    assert theory.dims == ("time", "layer", "followed_point_and_output", "followed_point_and_output_2")
    networks = made("e: mlp").to_xarray()["feature_kernels"]
    assert networks.dims == ("seed", "layer", "chosen_time", "point", "chosen_time_2", "point_2")
    kernel = made("e: mlp").feature_kernel(2, test=True)
    np.testing.assert_array_equal(networks.sel(seed=1, layer=2, chosen_time=3, chosen_time_2=0), kernel[1, 3, :, 0])


@pytest.mark.parametrize("name", STORED)
def test_tables_hold_losses_by_default(name):
    pytest.importorskip("pandas")
    result = made(name)
    table = result.to_dataframe()
    columns = [column for column in type(result).stored if column.endswith("_loss") and getattr(result, column) is not None]
    assert list(table.columns) == columns and table.index.names == (["time"] if name.startswith("t") else ["seed", "time"])
    np.testing.assert_array_equal(table["train_loss"], result.train_loss.ravel())


def test_tables_of_predictions_are_long_and_can_be_made_wide():
    pytest.importorskip("pandas")
    result = made("t: mlp")
    table = result.to_dataframe("predictions", "standard_error")
    assert table.index.names == ["time", "sample"] and len(table) == 4 * 6
    assert table.loc[2, 5]["predictions"] == result.predictions[2, 5] and table.loc[2, 5]["standard_error"] == result.standard_error[2, 5]
    np.testing.assert_array_equal(table["predictions"].unstack("sample"), result.predictions)
    assert made("e: mlp").to_dataframe("test_predictions").index.names == ["seed", "time", "test_point"]
    assert made("t: linear, two outputs").to_dataframe("C_delta").index.names == ["time", "output", "time_2", "output_2"]


def test_tables_refuse_what_does_not_fit():
    pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"names\[1\] must be one of 'test_loss', 'train_loss'.*got 'loss'"):
        made("e: linear").to_dataframe("test_loss", "loss")
    with pytest.raises(ValueError, match=r"the same dimensions; 'function' has \(time, point\); 'train_loss' has \(time\)"):
        made("t: mlp").to_dataframe("function", "train_loss")
    vanishing = solve(dmft.ShallowNet("-1", "1/2"), DATA, RUN, samples=64)
    with pytest.raises(ValueError, match="names must be given, as this result has no losses: of 'function'"):
        vanishing.to_dataframe()


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_a_missing_library_is_named(library, method, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library} is not installed.*dmft\[{library}\]"):
        getattr(made("t: linear"), method)()
