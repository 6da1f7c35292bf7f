"""Residual networks of infinite depth: marches at several finite depths side by side, extrapolated row by row.

A network of finite depth is the Euler discretization of the infinitely deep one in layer time, with errors in powers of 1 / depth. Three
depths d, 2 d and 4 d leave the third power; whether they are that far along is seen from the successive differences of the losses,
whose ratio is then near 2. Rows where it is not are solved with twice the depths.

Source: arXiv 2502.02531; docs/theory/deep_linear.md, section 4.
"""

from typing import NamedTuple

import numpy as np

from . import causal_linear
from .linear_problem import OrderParameters

#: Numbers of branches; three neighbours serve a row. The least has every layer time that is reported.
DEPTHS = 8, 16, 32, 64
SHALLOWEST = DEPTHS[0]
#: Of the depths d, 2 d and 4 d in the value that is free of the first two powers of 1 / d.
_WEIGHTS = np.array([1.0, -6.0, 8.0]) / 3.0
#: A row is settled if the two differences of its losses have a ratio from 1.5 to 2.5, or errors are below this fraction of the losses.
_RATIO, _NEGLIGIBLE = 0.5, 1e-3


class Limit(NamedTuple):
    """Rows solved so far.

    Attributes
    ----------
    order : OrderParameters
        Of the states at the layer times 0, 1/8 ... 1.
    moved : ndarray (2, T)
        How far the second extrapolation moves the first, in test and train loss.
    loss_error : ndarray (T,)
        The largest of that over both and over the last quarter of the rows, as it may change its sign: an estimate from above.
    unsettled : ndarray (T,) of bool
        Rows at which the ratio of the differences is not near 2 at the largest depths either.
    depths : tuple of int
        Used for the latest rows.
    done : int
    diverged : bool
    """

    order: OrderParameters
    moved: np.ndarray
    loss_error: np.ndarray
    unsettled: np.ndarray
    depths: tuple
    done: int
    diverged: bool


class _Depth:
    """The march at one finite depth."""

    def __init__(self, problem):
        self.problem, self.blocks = problem, causal_linear.march(problem)
        self.done, self.diverged = 0, False

    def advance(self, stop):
        """Solve up to row `stop`, or to where training diverges."""
        while self.done < stop and not self.diverged:
            self.state, self.done, self.diverged = next(self.blocks)

    def order(self):
        """Order parameters, with every state of the layer times that all depths share."""
        order, step = causal_linear.order_parameters(self.problem, self.state), (self.problem.layers - 1) // SHALLOWEST
        return order._replace(**{name: getattr(order, name)[::step] for name in ("Ch", "Cg", "Rh", "Rg")})


def march(problem_of, depths=DEPTHS):
    """Yield the growing `Limit` in blocks of rows; the arrays of all are the same.

    Parameters
    ----------
    problem_of : callable(int)
        `LinearProblem` of a number of branches.
    depths : sequence of int
        The first of `DEPTHS`, at least three: how deep to go where it takes that.
    """
    marches, deeper = [_Depth(problem_of(depth)) for depth in depths[:3]], list(depths[3:])
    rows, limit = marches[0].problem.rows, _empty(marches[0].problem)
    while limit.done < rows and not limit.diverged:
        stop = min(limit.done + causal_linear.BLOCK_ROWS, rows)
        done = _extend(limit, marches, stop)
        if deeper and (done < stop or limit.unsettled[limit.done : done].any()):
            del marches[0]
            marches.append(_Depth(problem_of(deeper.pop(0))))
        else:
            limit = limit._replace(done=done, diverged=done < stop, depths=tuple(march.problem.layers - 1 for march in marches))
            yield limit


def _empty(problem):
    states, n, rows = SHALLOWEST + 1, problem.rows * problem.outputs, problem.rows
    kernels = [np.zeros((states, n, n)) for _ in range(4)] + [np.zeros((n, n)) for _ in range(6)]
    order = OrderParameters(*kernels, *np.full((2, rows), np.inf))
    return Limit(order, np.full((2, rows), np.inf), np.full(rows, np.inf), np.zeros(rows, bool), (), 0, False)


def _extend(limit, marches, stop):
    """Fill in the rows from `limit.done` to `stop`, or to where a training diverges; returns the number of rows then."""
    for march in marches:
        march.advance(stop)
    done, outputs = min(march.done for march in marches), marches[0].problem.outputs
    times, rows = slice(limit.done, done), slice(limit.done * outputs, done * outputs)
    for target, *values in zip(limit.order, *(march.order() for march in marches)):
        place = times if target.ndim == 1 else (..., rows, slice(done * outputs))
        target[place] = sum(weight * value[place] for weight, value in zip(_WEIGHTS, values))

    losses = np.array([[order.test_loss[times], order.train_loss[times]] for order in (march.order() for march in marches)])
    first, second = np.diff(losses, axis=0)
    limit.moved[:, times] = np.abs(2.0 * second - first) / 3.0
    for t in range(limit.done, done):
        limit.loss_error[t] = limit.moved[:, t - t // 4 : t + 1].max()
    allowed = np.maximum(_RATIO / 3.0 * np.abs(second), _NEGLIGIBLE * np.abs(losses[-1]))
    limit.unsettled[times] = (limit.moved[:, times] > allowed).any(axis=0)
    return done
