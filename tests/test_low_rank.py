"""Factors of kernels between all times against the kernels."""

import numpy as np
import pytest

from kernel_systems import inputs, problem

from solvers import kernel_linear
from solvers.kernel_linear_factors import LinearFactors
from solvers.low_rank import MeanFactor, factor, signed_factor

TIMES, POINTS = 12, 3


def padded(rows):
    return np.concatenate([np.pad(row, ((0, 0), (0, rows[-1].shape[1] - row.shape[1]))) for row in rows])


def replicas(count=4, seed=0):
    """Smooth functions of time in growing bases: for each replica a list of rows (POINTS, r)."""
    rng = np.random.default_rng(seed)
    ranks = np.sort(rng.integers(2, 9, (count, TIMES)), axis=1)
    return [[rng.standard_normal((POINTS, r)) * 0.5 ** np.arange(r) for r in rank] for rank in ranks]


def test_mean_of_replicas():
    systems = replicas()
    expected = np.mean([padded(rows) @ padded(rows).T for rows in systems], axis=0)
    for tolerance in (1e-3, 1e-12):
        mean = MeanFactor(tolerance)
        rows = padded([mean.append([system[t] for system in systems]) for t in range(TIMES)])
        error = np.abs(rows @ rows.T - expected)
        assert error.max() < 3 * tolerance * np.max(np.diag(expected)) + 1e-12
        assert rows.shape[1] <= TIMES * POINTS
    fewer = MeanFactor(1e-1)
    assert padded([fewer.append([system[t] for system in systems]) for t in range(TIMES)]).shape[1] < rows.shape[1]


def test_given_kernel_of_low_rank():
    rows = padded(replicas(1)[0])
    found = factor(rows @ rows.T, 1e-13)
    assert found.shape[1] == rows.shape[1]
    np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-12 * np.max(rows @ rows.T))


def test_zero_rows_add_nothing():
    assert factor(np.zeros((2, 2))).shape == (2, 0)
    assert MeanFactor(1e-12).append([np.zeros((2, 0)), np.zeros((2, 1))]).shape == (2, 0)


def test_indefinite_kernel():
    rng = np.random.default_rng(0)
    columns, signs = rng.standard_normal((20, 5)), np.array([1, 1, 1, -1, -1])
    kernel = columns * signs @ columns.T
    columns, found = signed_factor(kernel, 7)
    np.testing.assert_allclose(columns * found @ columns.T, kernel, atol=1e-12)


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}], ids=str)
def test_deep_linear_network(optimizer):
    """Oscillating training makes nearly dependent fields, on which pivots of the kernels themselves lose all accuracy."""
    x, y = inputs(samples=8, test=1, dim=20, outputs=2)
    case = problem(x, y, layers=3, richness=2.0, rates=np.full(50, 0.1), **optimizer)
    factors, rows = LinearFactors(case, 1e-16), []
    for solution, t in kernel_linear.march(case):
        rows.append(factors.append(solution, t))
    for kind, kernel in enumerate((solution.feature_kernel, solution.gradient_kernel)):
        for layer in (1, 2, 3):
            columns = padded([row[kind][layer - 1] for row in rows])
            expected = kernel(layer).reshape(len(columns), -1)
            np.testing.assert_allclose(columns @ columns.T, expected, atol=1e-10 * np.max(expected))
