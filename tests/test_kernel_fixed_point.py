"""The fixed point of nonlinear networks and the readable twin, against the march: three codes with nothing in common but the equations."""

import numpy as np
import pytest

from solvers import kernel_fixed_point, kernel_march, kernel_replicas, reference_kernel

from kernel_systems import inputs, problem


def march_predictions(case, replicas=6, samples=4096):
    runs = [list(kernel_march.march(case, samples, seed=i, tolerance=1e-6, outer_kernels=False)) for i in range(replicas)]
    return [[step.predictions[:, 0] for step in run] for run in runs]


def small_case(activation, layers, **optimizer):
    x, y = inputs(samples=3, test=0, dim=4)
    return problem(x, y, activation, layers, rates=np.full(4, 0.4), **optimizer)


@pytest.mark.parametrize(("layers", "optimizer"), [(1, {}), (3, {"momentum": 0.3, "weight_decay": 0.05})])
def test_fixed_point_of_a_sampled_network(layers, optimizer):
    case = small_case("tanh", layers, **optimizer)
    mean, error = kernel_replicas.mean_and_error(march_predictions(case))
    runs = [kernel_fixed_point.solve_sampled(case, 600, seed=i, tolerance=1e-3)[0].predictions[:, :, 0] for i in range(8)]
    other, other_error = kernel_replicas.mean_and_error(runs)
    z = (other - mean)[1:] / np.hypot(error, other_error)[1:]
    assert np.sqrt(np.mean(z**2)) < 3
    assert np.max(np.abs(other - mean)) < 0.04 * np.max(np.abs(mean))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_readable_twin(activation):
    case = small_case(activation, 3, momentum=0.3, weight_decay=0.05)
    mean, error = kernel_replicas.mean_and_error(march_predictions(case))
    other, other_error = kernel_replicas.mean_and_error([reference_kernel.march(case, 10000, seed=i)[0] for i in range(8)])
    z = (other - mean)[1:] / np.hypot(error, other_error)[1:]
    assert np.sqrt(np.mean(z**2)) < 3
    assert np.max(np.abs(other - mean)) < 0.03 * np.max(np.abs(mean))


def test_sampled_fixed_point_refuses_kinks():
    with pytest.raises(ValueError, match="second derivative"):
        kernel_fixed_point.solve_sampled(small_case("relu", 1))


def test_overflow_is_named():
    x, y = inputs(samples=3, test=0)
    with pytest.raises(kernel_fixed_point.NoConvergence, match="fewer steps"):
        kernel_fixed_point.solve_linear(problem(x, y, layers=4, rates=np.full(30, 2.0)))
