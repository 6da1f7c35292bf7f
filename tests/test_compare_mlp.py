"""Networks that learn features against kernel evolution through `dmft.compare`: function and kernels, wrong theories refused."""

import dataclasses

import numpy as np
import pytest

import dmft

IMAGES = dmft.datasets.binary_digits(samples=6, test_samples=3, seed=1)
DATA = dmft.Dataset(8 * IMAGES.x, IMAGES.y, 8 * IMAGES.test_x, IMAGES.test_y)
TWO = dmft.Dataset(DATA.x, np.stack((DATA.y, np.linspace(-1, 1, 6)), axis=1))
RUN = dmft.GradientDescent(0.3, 8)
TIMES = (0, 4, 8)
NETS = {"tanh": dmft.MLP(2, "tanh"), "relu": dmft.MLP(1, "relu", richness=2.0)}


def networks(net, data=DATA, width=1024, seeds=16, track="kernels", **options):
    if track:
        options["kernel_times"] = TIMES
    return dmft.simulate(net, data, RUN, width=width, seeds=seeds, rng=1, track=track, progress=False, **options)


def theory(net, data=DATA, **options):
    return dmft.solve(net, data, RUN, progress=False, **options)


@pytest.fixture(scope="module")
def solved():
    return {name: theory(net) for name, net in NETS.items()}


@pytest.fixture(scope="module")
def simulated():
    return {name: networks(net) for name, net in NETS.items()}


FUNCTION = ["function, amplitude", "function, lag", *(f"{kind} loss, t = {t}" for kind in ("train", "test") for t in (3, 6, 8))]


@pytest.mark.parametrize("name", NETS)
def test_networks_agree_with_kernel_evolution(name, solved, simulated):
    verdict = dmft.compare(solved[name], simulated[name], progress=False)
    assert verdict.agrees and verdict.max_abs_z < 3.5 and verdict.solves == 0 and verdict.rate == 1
    kernels = [f"{kind} kernel {layer}" for layer in range(1, NETS[name].depth + 1) for kind in ("feature", "gradient")]
    assert [row.name for row in verdict.table] == [*FUNCTION, *(k + what for k in kernels for what in ("", ", change"))]
    assert [row.name for row in verdict.table if row.decides] == ["function, amplitude", "train loss, t = 8"]
    assert verdict.zscores.shape == (9,) and np.all(np.isfinite(verdict.zscores))
    rows = f"{8 + 2 * len(kernels)} rows"
    for part in ("the same for all networks", rows, "gradient kernel 1, change", "width^-1, bounded by the spread"):
        assert part in str(verdict)
    assert max(map(len, str(verdict).splitlines())) <= 110 and max(map(len, verdict.table_lines())) <= 100


@pytest.mark.parametrize("method", ["gradient-independence", "ntk"])
def test_approximations_are_refused(method, simulated):
    verdict = dmft.compare(theory(NETS["tanh"], method=method), simulated["tanh"], progress=False)
    assert verdict.outcome == "differs"
    change = "along labels" if method == "ntk" else "change"
    assert verdict.row("train loss, t = 8").differs and verdict.row(f"feature kernel 2, {change}").differs
    assert max(map(len, verdict.table_lines())) <= 100


@pytest.mark.parametrize("name", NETS)
def test_a_richness_off_by_a_fifth_is_refused(name, simulated):
    net = NETS[name]
    wrong = theory(dataclasses.replace(net, richness=1.2 * net.richness))
    assert dmft.compare(dataclasses.replace(wrong, network=net), simulated[name], progress=False).outcome == "differs"


def test_networks_without_kernels_are_compared_by_their_function(solved):
    few = networks(NETS["tanh"], width=256, seeds=4, track=None)
    assert [row.name for row in dmft.compare(solved["tanh"], few, progress=False).table] == FUNCTION
    without = theory(NETS["relu"], track=None)
    assert [row.name for row in dmft.compare(without, networks(NETS["relu"], seeds=4), progress=False).table] == FUNCTION


def test_rows_of_the_function_follow_their_definition(solved, simulated):
    trajectory, ensemble = solved["tanh"], simulated["tanh"]
    verdict = dmft.compare(trajectory, ensemble, progress=False)
    residual, change = ensemble.function - trajectory.function, trajectory.function - trajectory.function[0]
    amplitude = np.tensordot(residual, change, 2) / np.sum(change**2)
    late = -np.gradient(trajectory.function, axis=0)
    late -= np.sum(late * change) / np.sum(change**2) * change
    lag = np.tensordot(residual, late, 2) / np.linalg.norm(late) / np.linalg.norm(change)
    bias = np.sum(residual.var(axis=0, ddof=1)) / np.sum(change**2)
    for name, values, direction in (("amplitude", amplitude, change), ("lag", lag, late * np.linalg.norm(change) / np.linalg.norm(late))):
        row = verdict.row(f"function, {name}")
        common = np.sum(np.abs(direction) * trajectory.function_error) / np.sum(change**2)
        assert row.deviation == pytest.approx(values.mean()) and row.bias == pytest.approx(bias)
        assert row.standard_error == pytest.approx(np.hypot(values.std(ddof=1) / 4, common))
        parts = values.var(ddof=1) / 16, common**2
        assert row.degrees == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 15 + parts[1] ** 2 / 7))
    delayed = dataclasses.replace(ensemble, function=np.concatenate((ensemble.function[:, :1], ensemble.function[:, :-1]), axis=1))
    assert dmft.compare(trajectory, delayed, progress=False).row("function, lag").z > 10


def test_kernels_are_those_at_the_recorded_times(solved, simulated):
    trajectory, ensemble = solved["tanh"], simulated["tanh"]
    verdict, rows = dmft.compare(trajectory, ensemble, progress=False), np.arange(3)
    for kind in ("feature", "gradient"):
        kernel, error = (getattr(trajectory, f"{kind}_kernel{part}")(2) for part in ("", "_error"))
        theory, error = np.stack([kernel[s, :, s] for s in TIMES]), error[list(TIMES)]
        networks = np.moveaxis(getattr(ensemble, f"{kind}_kernel")(2)[:, rows, :, rows], 1, 0)
        for name, t, n in (("", theory, networks), (", change", theory - theory[:1], networks - networks[:, :1])):
            row, along = verdict.row(f"{kind} kernel 2{name}"), np.tensordot(n - t, t, 3) / np.sum(t**2)
            assert row.deviation == pytest.approx(along.mean()) and row.spread_error == pytest.approx(along.std(ddof=1) / 4)
        assert verdict.row(f"{kind} kernel 2").theory_error == pytest.approx(np.sum(np.abs(theory) * error) / np.sum(theory**2))


def test_a_theory_that_stands_still_is_compared_along_the_labels(simulated):
    """Networks that learn, against the theory of a vanishing learning rate; those that do not learn agree with it."""
    still = dataclasses.replace(RUN, learning_rate=1e-30)
    trajectory = dmft.solve(NETS["relu"], DATA, still, progress=False)
    moving = dataclasses.replace(simulated["relu"], training=still)
    verdict = dmft.compare(trajectory, moving, progress=False)
    assert verdict.table[0].name == "function, along labels" and verdict.row("function, along labels").differs
    at_rest = dmft.simulate(NETS["relu"], DATA, still, width=256, seeds=4, progress=False)
    assert dmft.compare(trajectory, at_rest, progress=False).agrees


@pytest.mark.parametrize("net", [dmft.MLP(2, "linear", outputs=2), dmft.MLP(1, "tanh", outputs=2)], ids=lambda net: net.activation)
def test_several_outputs_at_several_widths(net):
    """The gradient kernels of linear networks are the same at all samples; the theory follows one."""
    trajectory = theory(net, TWO)
    ensembles = [networks(net, TWO, width, seeds) for width, seeds in ((512, 32), (128, 64))]
    verdict = dmft.compare(trajectory, ensembles, progress=False)
    assert verdict.agrees and verdict.row("gradient kernel 1") and "removed by the fit" in str(verdict)
    shifted = [dataclasses.replace(e, gradient_kernels=1.5 * e.gradient_kernels) for e in ensembles]
    assert dmft.compare(trajectory, shifted, progress=False).row("gradient kernel 1").differs


def test_a_single_replica_is_refused(simulated):
    with pytest.raises(ValueError, match="2 replicas or more.*replicas=1"):
        dmft.compare(theory(NETS["relu"], replicas=1), simulated["relu"], progress=False)
