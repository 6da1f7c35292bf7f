"""Gradient flow to long times: the linear theory of an implicit Runge-Kutta integrator, step by step by sweeps.

dW/dt = G - lambda W integrated by any Runge-Kutta method is again W = d W(0) + kappa G, with full blocks of the stages on the diagonal of
kappa. The theory of the integrated network is that of `fixed_point` with windows that are the stages of a step, and its error is that of
the integrator. Radau IIA is stiffly accurate and L-stable, as lambda_1 K h >> 1 asks for: a step ends with its last stage.

Two integrations go side by side, one with steps of twice the length. Where they drift apart by more than the tolerance both go back and
halve their steps. An implicit equation has roots that are no solutions of the flow, such as the saddle W = 0; extrapolation from the last
steps starts near the right one, and the two integrations would not agree on a wrong one.

Source: docs/theory/deep_linear.md, section 5.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from . import fixed_point
from .linear_problem import OrderParameters

#: Stages of a step; the order is 2 STAGES - 1.
STAGES = 4
#: Relative error of the losses that steps are chosen for.
TOLERANCE = 1e-6
#: Ratio of the difference of both integrations to the error of the finer one, below the 2^7 of smooth solutions.
GAIN = 32.0
#: Of the initial loss: smaller losses have errors relative to this.
LEAST_LOSS = 1e-5
#: Most steps of the coarser integration between two output times.
MOST_PARTS = 64
#: Of the largest entry of all times: smaller entries of iterates settle relative to this, as rounding is.
LEAST_ENTRY = 1e-2
SWEEP_TOLERANCE = 1e-8
#: Sweeps that do not settle any more are taken for settled at this.
ROUNDING = 1e-5
MAX_SWEEPS = 60
ANDERSON = 6


def radau(stages):
    """Matrix A of the Radau IIA method, shape (stages, stages); the last row holds the weights, too."""
    legendre = np.polynomial.legendre.Legendre.basis
    nodes = (np.sort((legendre(stages) - legendre(stages - 1)).roots().real) + 1.0) / 2.0
    powers = np.arange(stages)
    return (nodes[:, None] ** (powers + 1) / (powers + 1)) @ np.linalg.inv(nodes[:, None] ** powers)


class Place(NamedTuple):
    """Where an integration is: its rows, the iterates of its last two steps (None if there are none), and the largest entries so far."""

    rows: int
    last: np.ndarray
    before: np.ndarray
    scales: np.ndarray


class Integration:
    """One integration of the flow. Row 0 is the start, and every step adds a row per stage.

    Parameters
    ----------
    problem : LinearProblem
        Its decay and memory are not looked at.
    weight_decay : float
    capacity : int
        Rows that there is room for at first.

    Attributes
    ----------
    problem : LinearProblem
        With decay and memory of the steps so far.
    theory : fixed_point.Theory
    place : Place
    sweeps : int
        In all, those of steps that were taken back, too.
    """

    def __init__(self, problem, weight_decay, capacity):
        self.method, self.weight_decay = radau(STAGES), weight_decay
        self._allocate(problem, capacity)
        self.problem.decay[0] = 1.0
        self.place, self.sweeps = Place(0, None, None, 0.0), 0
        self._solve(1, fixed_point.nothing(self.theory, fixed_point.open_window(self.problem, 0, 1)))

    def _allocate(self, problem, capacity):
        self.problem = problem._replace(decay=np.zeros(capacity), memory=np.zeros((capacity, capacity)))
        self.theory = fixed_point.Theory(self.problem)

    def _grow(self):
        old, theory, rows = self.problem, self.theory, self.place.rows
        self._allocate(old, 2 * old.rows)
        self.problem.decay[:rows], self.problem.memory[:rows, :rows] = old.decay[:rows], old.memory[:rows, :rows]
        self.theory.take(theory, rows * old.outputs)

    def step(self, length):
        """One step of the integrator; False if the sweeps do not settle."""
        k, rows = STAGES, self.place.rows
        if rows + k > self.problem.rows:
            self._grow()
        decay, memory = self.problem.decay, self.problem.memory
        damped = np.linalg.inv(np.eye(k) + length * self.weight_decay * self.method)
        kept = damped.sum(axis=1)
        decay[rows : rows + k] = kept * decay[rows - 1]
        memory[rows : rows + k, :rows] = np.outer(kept, memory[rows - 1, :rows])
        memory[rows : rows + k, rows : rows + k] = length * damped @ self.method
        return self._solve(k, self._guess())

    def back(self, place):
        """Go back to an earlier place."""
        if place.rows < self.place.rows:
            self.theory.erase(fixed_point.open_window(self.problem, place.rows, self.place.rows))
        self.place = place

    def _guess(self):
        """Iterates of the next step, extrapolated from the last two, in the logarithm of time.

        Responses decay with the ratio of times: those to the sources of a step resemble the last ones to the sources of the step before.
        Correlations change by the same factor again.
        """
        _, last, before, _ = self.place
        k, C, rows = STAGES, self.problem.outputs, self.place.rows
        block = k * C
        guess = fixed_point.nothing(self.theory, fixed_point.open_window(self.problem, rows, rows + k))
        if last.shape[2] < block:
            guess[:, 1] = np.tile(last[:, 1], (1, k, k + 1))
            return guess
        guess[:, 0] = _shifted(last[:, 0], block)
        ratio = np.ones_like(last[:, 1])
        if before is not None:
            guess[:, 0] += guess[:, 0] - _shifted(_shifted(before[:, 0], block), block)
            known = before[:, 1]
            ratio[..., : known.shape[-1]] = np.clip(last[:, 1, :, : known.shape[-1]] / np.where(known == 0.0, np.inf, known), 0.0, 2.0)
            ratio[..., -block:] = ratio[..., -2 * block : -block]
        guess[:, 1, :, :-block] = last[:, 1] * ratio
        guess[:, 1, :, -block:] = last[:, 1, :, -block:] * ratio[..., -block:] ** 2
        return guess

    def _solve(self, count, guess):
        rows, last, _, scales = self.place
        window = fixed_point.open_window(self.problem, rows, rows + count)
        options = {"max_sweeps": MAX_SWEEPS, "anderson": ANDERSON, "rounding": ROUNDING}
        with np.errstate(all="ignore"):
            residuals, found = fixed_point.iterate(self.theory, window, guess, partial(_size, scales), SWEEP_TOLERANCE, **options)
        self.sweeps += len(residuals)
        if not residuals[-1] <= ROUNDING:
            self.theory.erase(window)
            return False
        self.theory.clean(window)
        before = last if last is not None and last.shape[2] == found.shape[2] else None
        self.place = Place(rows + count, found, before, fixed_point.largest(scales, found))
        return True


def _size(scales, x):
    return np.maximum(np.abs(x), LEAST_ENTRY * fixed_point.largest(scales, x))


def _shifted(rows, block):
    """Rows (..., n) of a response with the columns of every step moved to the next, those of the first once more if it is not the last."""
    first = rows.shape[-1] % block
    oldest = rows[..., first : first + block] if rows.shape[-1] > first + block else np.zeros((*rows.shape[:-1], block))
    return np.concatenate([rows[..., :first], oldest, rows[..., first:]], axis=-1)


class Flow(NamedTuple):
    """The flow at its first output times, as many as it has reached.

    Attributes
    ----------
    order : OrderParameters
        At these times. Responses are those to a constant source between an output time and the one before.
    loss_error : ndarray (times,)
        Estimate of the error of the losses, the larger one of both.
    rows, sweeps : int
        Of both integrations.
    """

    order: OrderParameters
    loss_error: np.ndarray
    rows: int
    sweeps: int


class NoConvergence(RuntimeError):
    """The sweeps do not settle even with the shortest steps."""

    def __init__(self, start, stop):
        super().__init__(f"the sweeps between the times {start:.6g} and {stop:.6g} do not settle even in {2 * MOST_PARTS} steps")


def march(problem, times, weight_decay=0.0):
    """Integrate the flow, from output time to output time.

    Parameters
    ----------
    problem : LinearProblem
        Its decay and memory are not looked at.
    times : ndarray (T,)
        Output times, increasing from 0.
    weight_decay : float

    Yields
    ------
    Flow
        After every second output time, and the last one.

    Raises
    ------
    NoConvergence
    """
    rows = STAGES * (len(times) + 1) + 1
    fine, coarse = Integration(problem, weight_decay, rows), Integration(problem, weight_decay, rows // 2)
    ends, drifts, parts = [0], [0.0], 1
    for first in range(0, len(times) - 1, 2):
        inner = times[first : first + 3]
        parts, new, drift = _advance(fine, coarse, inner, parts, drifts[-1])
        ends += new
        drifts += [max(drifts[-1], drift)] * (len(new) - 1) + [drift]
        order = _at(fine, ends)
        losses = np.array([order.test_loss, order.train_loss])
        error = np.array(drifts) / GAIN * np.max(np.maximum(losses, LEAST_LOSS * losses[:, :1]), axis=0)
        yield Flow(order, error, fine.place.rows + coarse.place.rows, fine.sweeps + coarse.sweeps)


def _advance(fine, coarse, times, parts, before):
    """Take both integrations from the first to the last of the times.

    Parameters
    ----------
    fine, coarse : Integration
    times : ndarray
        The present one, and one or two more.
    parts : int
        Steps of the coarser one to begin with.
    before : float
        Drift so far.

    Returns
    -------
    parts : int
        To begin with the next time.
    ends : list of int
        Rows of the finer one at the times after the first.
    drift : float
        Largest relative difference of the losses.
    """
    places, growth = (fine.place, coarse.place), np.inf
    while True:
        per = 2 * parts // (len(times) - 1)
        edges = np.concatenate([times[:1]] + [_division(a, b, per)[1:] for a, b in zip(times, times[1:])])
        if all(fine.step(h) for h in np.diff(edges)) and all(coarse.step(h) for h in np.diff(edges[::2])):
            drift, known = _drift(fine, coarse), growth
            growth = drift - before
            if growth <= GAIN * TOLERANCE + before or parts == MOST_PARTS or growth > known / 2.0:
                ends = [places[0].rows - 1 + STAGES * per * (i + 1) for i in range(len(times) - 1)]
                return max(1, parts // 2) if growth <= TOLERANCE / GAIN else parts, ends, drift
        elif parts == MOST_PARTS:
            raise NoConvergence(times[0], times[-1])
        fine.back(places[0])
        coarse.back(places[1])
        parts *= 2


def _division(start, stop, parts):
    """Edges of equal parts, in the logarithm where the start is not 0."""
    return np.geomspace(start, stop, parts + 1) if start else np.linspace(start, stop, parts + 1)


def _drift(fine, coarse):
    found, known = (np.array(path.theory.losses()) for path in (fine, coarse))
    last = found[:, fine.place.rows - 1]
    return np.max(np.abs(last - known[:, coarse.place.rows - 1]) / np.maximum(last, LEAST_LOSS * found[:, 0]))


def _at(path, ends):
    """`OrderParameters` at some rows; of responses the sums over the rows since the one before."""
    C, n = path.problem.outputs, ends[-1] + 1
    starts = np.append(0, np.array(ends[:-1], dtype=int) + 1)

    def correlation(C_):
        return _blocks(C_, C, n)[..., ends, :, :, :][..., ends, :].reshape(*C_.shape[:-2], len(ends) * C, -1)

    def response(R):
        return np.add.reduceat(_blocks(R, C, n)[..., ends, :, :, :], starts, axis=-2).reshape(*R.shape[:-2], len(ends) * C, -1)

    theory, data, losses = path.theory, path.theory.data, np.array(path.theory.losses())[:, ends]
    Ch, Cg, Rh, Rg = theory.matrices[:4]
    return OrderParameters(
        *map(correlation, (Ch, Cg)), *map(response, (Rh, Rg)), *map(correlation, (data.Cv, data.Cu)), *map(response, (data.Rv, data.Ru)),
        correlation(data.Cd), response(data.Rd), *losses,
    )  # fmt: skip


def _blocks(matrix, C, n):
    """Its first n times as (..., n, C, n, C)."""
    part = matrix[..., : n * C, : n * C]
    return part.reshape(*part.shape[:-2], n, C, n, C)
