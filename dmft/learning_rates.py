"""Learning rates that the theory recommends: the largest stable one by bisection, the best one by a scan and golden section.

Both vary the learning rate of a `Problem` in steps of its logarithm, starting from the stated one; a schedule is scaled as a whole, and
stands for its largest rate. Source: docs/theory/deep_linear.md, section 7.
"""

import math
from typing import NamedTuple

import numpy as np

from . import checks
from .errors import SolverError
from .networks import DeepLinear, DeepLinearResNet
from .problem import Problem
from .solve import solve
from .specification import check_type
from .trajectory import Status

QUANTITIES = ("test_loss", "train_loss")
#: Losses below this multiple of the initial one are round-off.
_FLOOR = 1e-13
#: Relative bounds on tolerances: below, differences of losses about the minimum are round-off.
_FINEST, _COARSEST = 1e-5, 0.3
_OCTAVES = 60
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class LearningRate(NamedTuple):
    """A learning rate, and half the width of the interval that it is the middle of."""

    value: float
    error: float


def max_stable_learning_rate(problem, tolerance=0.01):
    """The largest learning rate at which training is stable, by bisection over solves.

    A rate is unstable if the trajectory diverges, or the train loss after the last step is above the initial one. A loss that rises and
    comes back is stable, and so is a test loss that ends above its start as noise is fitted.

    Parameters
    ----------
    problem : Problem
        Of a deep linear network, whose theory has no sampling error.
        Its learning rate is where the search begins; of a schedule, which is scaled as a whole, the largest rate counts.
    tolerance : float
        Relative error at which the bisection stops.

    Returns
    -------
    value, error : float
        Middle and half the width of an interval between a stable and an unstable rate.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument; also for training that has no learning rate.
    SolverError
        If all rates within a factor 2**60 of the stated one are stable, or all unstable.

    Examples
    --------
    >>> problem = dmft.Problem(dmft.DeepLinear(depth=2), dmft.GaussianData(), dmft.OnlineSGD(0.1, 40, batch_ratio=2.0))
    >>> value, error = dmft.max_stable_learning_rate(problem)
    >>> print(f"{value:.3f} +- {error:.3f}")
    0.3... +- 0.00...
    >>> dmft.solve(problem.replaced({"training.learning_rate": 1.1 * value}), progress=False).status.name
    'DIVERGED'
    """
    tolerance = _checked(problem, tolerance)
    rate = largest = _largest_rate(problem)
    stable = {True: None, False: None}
    for _ in range(_OCTAVES):
        found = _is_stable(problem, rate, largest)
        stable[found] = rate
        if None not in stable.values():
            break
        rate *= 2.0 if found else 0.5
    else:
        raise SolverError(f"training is {'stable' if found else 'unstable'} at every learning rate from the stated one to {rate:.3g}")
    low, high = stable[True], stable[False]
    while high - low > tolerance * (high + low):
        rate = math.sqrt(low * high)
        low, high = (rate, high) if _is_stable(problem, rate, largest) else (low, rate)
    return LearningRate((low + high) / 2.0, (high - low) / 2.0)


def optimal_learning_rate(problem, at=None, quantity="test_loss", tolerance=0.01):
    """The learning rate with the least loss after some steps, by a coarse scan and golden section over solves.

    The scan is by half octaves, up to where training diverges and down to where the loss has long been rising, so that the section
    works on the deepest of several minima, as there may be near the edge of stability.

    Parameters
    ----------
    problem : Problem
        Of a deep linear network, whose theory has no sampling error.
        Its learning rate is where the scan begins; of a schedule, which is scaled as a whole, the largest rate counts.
    at : int, optional
        The step; default: the last. Later ones are not solved.
    quantity : {"test_loss", "train_loss"}
    tolerance : float
        Relative error at which the section stops.

    Returns
    -------
    value, error : float
        Middle and half the width of an interval around the minimum.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument; also for training that has no learning rate. After it, where the least loss is round-off.
    SolverError
        If the loss has no minimum within a factor 2**60 of the stated rate.

    Examples
    --------
    >>> problem = dmft.Problem(dmft.DeepLinear(depth=2), dmft.GaussianData(), dmft.OnlineSGD(0.1, 40, batch_ratio=2.0))
    >>> value, error = dmft.optimal_learning_rate(problem, at=20)
    >>> print(f"{value:.2f}")
    0.18
    >>> bool(error < 0.01 * value)
    True
    """
    tolerance = _checked(problem, tolerance)
    checks.choice("quantity", quantity, QUANTITIES)
    steps = problem.training.steps
    if at is None:
        at = steps
    elif checks.integer("at", at, 1) > steps:
        checks.fail("at", at, f"a step up to those of the training, {steps}")
    shorter = problem.replaced({"training.steps": int(at), "training.learning_rate": _first(problem.training.learning_rate, at)})
    known, largest = {}, _largest_rate(problem)

    def loss(rate):
        if rate not in known:
            known[rate] = float(getattr(_solved(shorter, rate, largest), quantity)[-1])
        return known[rate]

    best = _deepest(loss, largest)
    if known[best] <= _FLOOR * getattr(_solved(shorter, best, largest), quantity)[0]:
        raise ValueError(f"at must be earlier: the least {quantity} after {at} steps is round-off, {known[best]:.3g}")
    low, high = best * 2.0**-0.5, best * 2.0**0.5
    left, right = low ** _GOLDEN * high ** (1.0 - _GOLDEN), low ** (1.0 - _GOLDEN) * high**_GOLDEN
    while high - low > tolerance * (high + low):
        if loss(left) <= loss(right):
            high, right = right, left
            left = low * high / right
        else:
            low, left = left, right
            right = low * high / left
    return LearningRate((low + high) / 2.0, (high - low) / 2.0)


def _deepest(loss, rate):
    """The rate of the least loss among those half octaves apart: up to divergence, and down until the loss has risen for two octaves."""
    found = {}
    for direction in (1, -1):
        for step in range(0 if direction == 1 else 1, 2 * _OCTAVES):
            at = rate * 2.0 ** (direction * step / 2.0)
            found[at] = loss(at)
            least = min(found, key=found.get)
            finite = math.isfinite(found[least])
            if direction == 1 and not math.isfinite(found[at]) or direction == -1 and finite and at * 4.0 <= least:
                break
        else:
            raise SolverError(f"the loss has no minimum within a factor 2**{_OCTAVES} of the learning rate {rate:.3g}")
    return least


def _checked(problem, tolerance):
    check_type("problem", problem, (Problem,))
    check_type("problem.network", problem.network, (DeepLinear, DeepLinearResNet))
    if not hasattr(problem.training, "learning_rates"):
        raise ValueError(f"problem must have a training with a learning rate; a {type(problem.training).__name__} has none")
    if _largest_rate(problem) == 0.0:
        raise ValueError("problem must have a learning rate > 0 at some step; got a schedule of zeros")
    return checks.number("tolerance", tolerance, f"a number from {_FINEST:g} to {_COARSEST:g}", lambda v: _FINEST <= v <= _COARSEST)


def _largest_rate(problem):
    return float(np.max(problem.training.learning_rates))


def _first(rate, steps):
    return rate if np.ndim(rate) == 0 else np.asarray(rate)[:steps]


def _solved(problem, rate, largest):
    """The trajectory with the rates scaled so that `largest` becomes this rate."""
    training = problem.training
    scaled = rate if np.ndim(training.learning_rate) == 0 else training.learning_rates * (rate / largest)
    return solve(problem.replaced({"training.learning_rate": scaled}), progress=False)


def _is_stable(problem, rate, largest):
    trajectory = _solved(problem, rate, largest)
    return trajectory.status is not Status.DIVERGED and bool(trajectory.train_loss[-1] <= trajectory.train_loss[0])
