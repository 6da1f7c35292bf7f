"""Deep networks against their limits through `dmft.compare`: several outputs, limits with and without a random start."""

import dataclasses

import numpy as np
import pytest

import dmft

IMAGES = dmft.datasets.binary_digits(samples=5, test_samples=3, seed=1)
UNBALANCED = np.array([1.0, 1.0, 1.0, -1.0, 1.0])
ONE = dmft.Dataset(IMAGES.x, UNBALANCED, IMAGES.test_x, IMAGES.test_y)
TWO = dmft.Dataset(IMAGES.x, np.stack((UNBALANCED, 0.5 * UNBALANCED - 0.2), axis=1), IMAGES.test_x)
#: Network, data, learning rates, widths and seeds, what they can tell; where the limit forgets, the bias is of order width^-1/2.
CASES = {
    "features": (dmft.DeepNet(2, "mup", "tanh"), ONE, 0.6, {512: 24, 128: 48}, "agrees"),
    "features, two outputs": (
        dmft.DeepNet(2, "hybrid-mup", "relu", outputs=2), TWO, np.array([4.0, 0.3, 0.3, 0.3]), {512: 16, 128: 32}, "cannot tell"
    ),
    "kernel": (dmft.DeepNet(2, "ntk", "relu"), ONE, 0.4, {1024: 40, 256: 80}, "agrees"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_networks_agree_with_their_limit_and_not_with_another(case):
    net, data, rate, sizes, outcome = CASES[case]
    problem = net, data, dmft.GradientDescent(rate, 4)
    theory = dmft.solve(*problem, samples=2**13, progress=False)
    ensembles = [dmft.simulate(*problem, width=width, seeds=seeds, rng=width, progress=False) for width, seeds in sizes.items()]
    verdict = dmft.compare(theory, ensembles, progress=False)
    assert verdict.outcome == outcome, str(verdict)
    assert verdict.solves == (120 if case == "kernel" else 0)
    assert verdict.width_errors[0] < verdict.width_errors[1] and "infinite width" in str(verdict)
    shifted = [dataclasses.replace(e, function=1.25 * e.function) for e in ensembles]
    assert dmft.compare(theory, shifted, progress=False).outcome == "differs"


def test_networks_far_from_their_limit_cannot_tell():
    """Steps that are large for relu: single networks of width 256 deviate by half of the function, their mean may by a quarter."""
    problem = dmft.DeepNet(3, "mup", "relu"), ONE, dmft.GradientDescent(1.0, 6)
    verdict = dmft.compare(dmft.solve(*problem, progress=False), dmft.simulate(*problem, width=256, seeds=8, progress=False))
    assert verdict.relative_error[-1] > 0.3 and verdict.outcome == "cannot tell" and not verdict.agrees
    assert verdict.row("train loss, t = 6").at_most(0.01) > 0.4 and "a deviation of 10% is not ruled out" in str(verdict)
