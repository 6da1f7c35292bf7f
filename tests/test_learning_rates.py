"""Learning rates from theory: the values of docs/theory/deep_linear.md, section 7, their independence of the start, and bad input."""

import math

import numpy as np
import pytest

import dmft


def problem(depth=2, rate=0.05, steps=100, noise=0.0, **network):
    training = dmft.OnlineSGD(rate, steps, batch_ratio=2.0)
    return dmft.Problem(dmft.DeepLinear(depth, **network), dmft.GaussianData(label_noise=noise), training)


@pytest.mark.parametrize("ratio, rate", [(0.5, 0.052), (1.0, 0.030), (4.0, 0.0156), (64.0, 0.0109)])
def test_best_rate_with_noise(ratio, rate):
    value, error = dmft.optimal_learning_rate(problem(noise=0.3, width_ratio=ratio))
    digits = 10.0 ** (math.floor(math.log10(rate)) - (1 if rate > 0.0156 else 2))
    assert abs(value - rate) <= digits / 2 + error


@pytest.mark.parametrize("ratio, rate", [(0.5, 0.071), (4.0, 0.184), (64.0, 0.170)])
def test_best_rate_without_noise(ratio, rate):
    value, error = dmft.optimal_learning_rate(problem(3, steps=20, width_ratio=ratio, parameterization="ntk"))
    assert abs(value - rate) <= 0.0005 + error


def test_neighbours_of_the_optimum_are_worse():
    value, _ = dmft.optimal_learning_rate(problem(noise=0.3), at=40)
    losses = [
        dmft.solve(problem(noise=0.3).replaced({"training.learning_rate": value * factor}), progress=False).test_loss[40]
        for factor in (0.9, 1.0, 1.1)
    ]
    assert losses[1] == min(losses)


@pytest.mark.parametrize("start", [1e-3, 0.05, 3.0])
def test_start_and_schedule_do_not_matter(start):
    value, error = dmft.optimal_learning_rate(problem(noise=0.3, rate=start, steps=40))
    scheduled, other = dmft.optimal_learning_rate(problem(noise=0.3, rate=np.full(40, 0.02), steps=40))
    assert abs(value - scheduled) <= error + other


def test_rates_of_a_schedule_are_its_largest_one_even_after_the_step():
    value, error = dmft.optimal_learning_rate(problem(noise=0.3, rate=0.02, steps=40))
    ramp, other = dmft.optimal_learning_rate(problem(noise=0.3, rate=np.repeat([0.02, 0.08], 40), steps=80), at=40)
    assert abs(ramp - 4 * value) <= other + 4 * error


@pytest.mark.parametrize("start", [1e-3, 3.0])
def test_largest_stable_rate_separates(start):
    stated = problem(rate=start)
    value, error = dmft.max_stable_learning_rate(stated)
    assert abs(value - 0.36) <= 0.005 + error
    runs = [dmft.solve(stated.replaced({"training.learning_rate": value + sign * error}), progress=False) for sign in (-1.001, 1.001)]
    assert runs[0].status is dmft.Status.COMPLETED and runs[0].train_loss[-1] < runs[0].train_loss[0]
    assert runs[1].status is dmft.Status.DIVERGED or runs[1].train_loss[-1] > runs[1].train_loss[0]


def test_residual_networks():
    stated = dmft.Problem(dmft.DeepLinearResNet(4), dmft.GaussianData(), dmft.OnlineSGD(0.05, 20, batch_ratio=2.0))
    value, _ = dmft.optimal_learning_rate(stated)
    assert value < dmft.max_stable_learning_rate(stated).value


def test_bad_input():
    flow = dmft.Problem(dmft.DeepLinear(1), dmft.GaussianData(), dmft.GradientFlow(1.0))
    for find in (dmft.optimal_learning_rate, dmft.max_stable_learning_rate):
        with pytest.raises(ValueError, match="problem must have a training with a learning rate; a GradientFlow has none"):
            find(flow)
        with pytest.raises(TypeError, match="problem must be a Problem; got int"):
            find(3)
        with pytest.raises(ValueError, match="tolerance"):
            find(problem(), tolerance=0.0)
        with pytest.raises(ValueError, match="problem must have a learning rate > 0 at some step; got a schedule of zeros"):
            find(problem(rate=np.zeros(100)))
        with pytest.raises(TypeError, match="problem.network must be a DeepLinear or DeepLinearResNet; got MLP"):
            find(dmft.Problem(dmft.MLP(1), dmft.Dataset(np.eye(2), [1.0, -1.0]), dmft.GradientDescent(0.1, 5)))
    with pytest.raises(ValueError, match="at must be a step up to those of the training, 100; got 101"):
        dmft.optimal_learning_rate(problem(), at=101)
    with pytest.raises(ValueError, match="quantity must be one of 'test_loss', 'train_loss'; got 'loss'"):
        dmft.optimal_learning_rate(problem(), quantity="loss")
