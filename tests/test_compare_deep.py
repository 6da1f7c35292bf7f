"""Deep networks against their limits through `dmft.compare`: several outputs, limits with and without a random start."""

import dataclasses

import numpy as np
import pytest

import dmft

IMAGES = dmft.datasets.binary_digits(samples=5, test_samples=3, seed=1)
UNBALANCED = np.array([1.0, 1.0, 1.0, -1.0, 1.0])
ONE = dmft.Dataset(IMAGES.x, UNBALANCED, IMAGES.test_x, IMAGES.test_y)
TWO = dmft.Dataset(IMAGES.x, np.stack((UNBALANCED, 0.5 * UNBALANCED - 0.2), axis=1), IMAGES.test_x)
CASES = {
    "features": (dmft.DeepNet(2, "mup", "tanh"), ONE, 0.6),
    "features, two outputs": (dmft.DeepNet(2, "hybrid-mup", "relu", outputs=2), TWO, np.array([4.0, 0.3, 0.3, 0.3])),
    "kernel": (dmft.DeepNet(2, "ntk", "relu"), ONE, 0.4),
}


@pytest.mark.parametrize("case", CASES)
def test_networks_agree_with_their_limit_and_not_with_another(case):
    net, data, rate = CASES[case]
    problem = net, data, dmft.GradientDescent(rate, 4)
    theory = dmft.solve(*problem, samples=2**13, progress=False)
    ensembles = [dmft.simulate(*problem, width=width, seeds=seeds, rng=width, progress=False) for width, seeds in ((512, 16), (128, 32))]
    verdict = dmft.compare(theory, ensembles, progress=False)
    assert verdict.agrees
    assert verdict.solves == (48 if case == "kernel" else 0)
    assert verdict.width_errors[0] < verdict.width_errors[1] and "infinite width" in str(verdict)
    shifted = [dataclasses.replace(e, function=1.25 * e.function) for e in ensembles]
    assert not dmft.compare(theory, shifted, progress=False).agrees
