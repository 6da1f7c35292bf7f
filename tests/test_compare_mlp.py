"""Networks that learn features against kernel evolution through `dmft.compare`: function and kernels, wrong theories refused."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft.comparisons.mean_test import mean_test

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


@pytest.mark.parametrize("name", NETS)
def test_networks_agree_with_kernel_evolution(name, solved, simulated):
    verdict = dmft.compare(solved[name], simulated[name], progress=False)
    assert verdict.agrees and verdict.max_abs_z < 3 and verdict.solves == 0 and verdict.rate == 1
    kernels = [f"{kind} kernel {layer}" for layer in range(1, NETS[name].depth + 1) for kind in ("feature", "gradient")]
    assert list(verdict.tests) == ["function", "train loss", "test loss", *kernels]
    assert verdict.zscores.shape == (9,) and np.all(np.isfinite(verdict.zscores))
    for part in ("the same for all networks", f"any of {3 + len(kernels)} tests", "gradient kernel 1 |z| =", "width^-1, not removed"):
        assert part in str(verdict)


@pytest.mark.parametrize("method", ["gradient-independence", "ntk"])
def test_approximations_are_refused(method, simulated):
    verdict = dmft.compare(theory(NETS["tanh"], method=method), simulated["tanh"], progress=False)
    assert not verdict.agrees
    assert verdict.tests["feature kernel 2"].z > 4


@pytest.mark.parametrize("name", NETS)
def test_a_richness_off_by_a_tenth_is_refused(name, simulated):
    net = NETS[name]
    wrong = theory(dataclasses.replace(net, richness=1.1 * net.richness))
    assert not dmft.compare(dataclasses.replace(wrong, network=net), simulated[name], progress=False).agrees


def test_networks_without_kernels_are_compared_by_their_function(solved):
    few = networks(NETS["tanh"], width=256, seeds=4, track=None)
    assert list(dmft.compare(solved["tanh"], few, progress=False).tests) == ["function", "train loss", "test loss"]
    without = theory(NETS["relu"], track=None)
    assert list(dmft.compare(without, networks(NETS["relu"], seeds=4), progress=False).tests) == ["function", "train loss", "test loss"]


def test_kernels_are_those_at_the_recorded_times(solved, simulated):
    trajectory, ensemble = solved["tanh"], simulated["tanh"]
    rows = np.arange(3)
    found = dmft.compare(trajectory, ensemble, progress=False).tests
    for kind in ("feature", "gradient"):
        kernel, error = (getattr(trajectory, f"{kind}_kernel{part}")(2) for part in ("", "_error"))
        residual = np.moveaxis(getattr(ensemble, f"{kind}_kernel")(2)[:, rows, :, rows], 1, 0) - np.stack([kernel[s, :, s] for s in TIMES])
        scale = np.sqrt(np.mean(residual.var(axis=0, ddof=1) + error[list(TIMES)] ** 2, axis=(1, 2), keepdims=True))
        expected = mean_test([residual / scale], common_error=error[list(TIMES)] / scale, common_degrees=7)
        assert found[f"{kind} kernel 2"].z == pytest.approx(expected.z, abs=1e-6)


@pytest.mark.parametrize("net", [dmft.MLP(2, "linear", outputs=2), dmft.MLP(1, "tanh", outputs=2)], ids=lambda net: net.activation)
def test_several_outputs_at_several_widths(net):
    """The gradient kernels of linear networks are the same at all samples; the theory follows one."""
    trajectory = theory(net, TWO)
    ensembles = [networks(net, TWO, width, seeds) for width, seeds in ((512, 8), (128, 16))]
    verdict = dmft.compare(trajectory, ensembles, progress=False)
    assert verdict.agrees and "gradient kernel 1" in verdict.tests and "removed by the fit" in str(verdict)
    shifted = [dataclasses.replace(e, gradient_kernels=1.5 * e.gradient_kernels) for e in ensembles]
    assert dmft.compare(trajectory, shifted, progress=False).tests["gradient kernel 1"].z > 4


def test_a_single_replica_is_refused(simulated):
    with pytest.raises(ValueError, match="2 replicas or more.*replicas=1"):
        dmft.compare(theory(NETS["relu"], replicas=1), simulated["relu"], progress=False)
