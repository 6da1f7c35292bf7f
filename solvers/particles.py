"""A population of neurons, f(x) = scale sum_r a_r phi(w_r.x), under gradient descent with given loss derivatives c_i,

    a_r <- a_r - rate_a sum_i c_i phi(h_ri),    w_r <- w_r - rate_w sum_i c_i a_r phi'(h_ri) x_i,    h_ri = w_r.x_i

(simultaneous). With scale = beta*/N and rates lambda* these are the particles of the mean-field limit, with scale = sigma and rates
eta sigma they are a finite network (docs/theory/shallow_limits.md, equations 5 and 1; arXiv 2006.06574).

A neuron is kept as (a_r, h_r), its pre-activations on all points, training points first: the weights enter only through them, as
h_rj decreases by rate_w a_r sum_i c_i phi'(h_ri) x_i.x_j. A step takes blocks of neurons that fit into the cache through the update and
the new logits at once, so that it reads and writes the state once. Blocks do not depend on the number of threads and their sums are
added in fixed order: neither do the results.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  (the BLAS of compiled kernels: loaded here, so that limits on its threads set later hold)

from .compiled import inner, inner_fast, kernel

_COMPILED_BLOCK, _GENERAL_BLOCK, _BLOCK_SIZES = 2**13, 2**15, (32, 512)
_NO_POINTS = np.empty(0, dtype=np.int64)
_SERIAL_WORK = 2**23


def initial(rng, neurons, x, antithetic=False):
    """Neurons with a ~ N(0, 1) and w ~ N(0, I), drawn in this order; the weights are not kept.

    Parameters
    ----------
    rng : numpy.random.Generator
    neurons : int
        N; even if antithetic.
    x : ndarray, shape (points, D)
    antithetic : bool
        Whether neurons 2k and 2k + 1 share their weights and have opposite a, so that all logits vanish exactly.

    Returns
    -------
    a : ndarray, shape (N,)
    h : ndarray, shape (N, points)
    """
    copies = 2 if antithetic else 1
    if neurons % copies:
        raise ValueError(f"the number of neurons in antithetic pairs must be even, not {neurons}")
    a = np.repeat(rng.standard_normal(neurons // copies), copies)
    if antithetic:
        a[1::2] *= -1
    h = np.empty((neurons, len(x)))
    block = _block_size(_GENERAL_BLOCK, max(x.shape))
    for start in range(0, neurons, block):
        rows = h[start : start + block]
        rows[:] = np.repeat(rng.standard_normal((len(rows) // copies, x.shape[1])) @ x.T, copies, axis=0)
    return a, h


class Particles:
    """The state of a population, and its steps.

    Parameters
    ----------
    a, h : ndarray, shapes (N,) and (N, P + M)
        Output weights and pre-activations, contiguous float64; updated in place.
    x : ndarray, shape (P + M, D)
        Inputs: P training points, then M others.
    train : int
        P.
    activation : Activation
        Called from several threads.
    groups : int
        Groups of neurons with separate sums: consecutive neurons, equal in size up to one pair.
    threads : int
        Upper limit. They are of use only where BLAS itself is held to one.

    Attributes
    ----------
    sizes : ndarray of int, shape (groups,)
        Neurons of each group.
    """

    def __init__(self, a, h, x, train, activation, groups=1, threads=1):
        if not 1 <= groups <= (len(a) + 1) // 2:
            raise ValueError(f"{len(a)} neurons do not make {groups} groups of pairs")
        self.a, self.h, self.activation, self.train = a, h, activation, train
        self.inputs, self.inputs_transposed = np.array(x[:train], order="C"), np.array(x.T, order="C")
        self.gram = self.inputs @ self.inputs_transposed
        entries = _GENERAL_BLOCK if activation.negative_slope is None else _COMPILED_BLOCK
        self._edges, self._first = _partition(len(a), groups, _block_size(entries, h.shape[1]))
        self.sizes = np.diff(np.append(self._edges[self._first], len(a)))
        self._groups = np.repeat(np.arange(groups), np.diff(np.append(self._first, len(self._edges) - 1)))
        self._sums = np.empty((len(self._edges) - 1, h.shape[1]))
        self._threads = max(1, min(threads, len(self._sums)))
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def sums(self):
        """sum_r a_r phi(h_r) over each group, shape (groups, P + M)."""
        return self._run(0.0, 0.0, np.empty((1, 0)), _NO_POINTS)

    def step(self, rate_a, rate_w, c):
        """One step; returns the new `sums`.

        Parameters
        ----------
        rate_a, rate_w : float
            0 freezes a layer.
        c : ndarray, shape (P,) or (groups, P)
            Loss derivatives, batch weights included, of all neurons or of each group. Points where they vanish cost nothing.
        """
        c = np.atleast_2d(c)
        batch = np.flatnonzero(np.any(c, axis=0))
        if len(batch) == self.train:
            return self._run(float(rate_a), float(rate_w), np.array(c, dtype=float, order="C"), _NO_POINTS)
        return self._run(float(rate_a), float(rate_w), np.array(c[:, batch], dtype=float, order="C"), batch)

    def tangent_kernels(self):
        """sum_r phi(h_rj) phi(h_ri) and x_j.x_i sum_r a_r^2 phi'(h_rj) phi'(h_ri), each of shape (P + M, P)."""
        kernels = np.zeros((2, self.h.shape[1], self.train))
        functions = np.empty((2, int(np.diff(self._edges).max()), self.h.shape[1]))
        for start, stop in zip(self._edges, self._edges[1:]):
            phi, dphi = functions[:, : stop - start]
            self.activation.evaluate(self.h[start:stop], phi, dphi)
            dphi *= self.a[start:stop, None]
            for total, values in zip(kernels, (phi, dphi)):
                total += values.T @ values[:, : self.train]
        kernels[1] *= self.gram.T
        return kernels

    def _run(self, rate_a, rate_w, c, batch):
        factors = self._factors(c.shape[1], batch)
        groups = self._groups if len(c) > 1 else np.zeros_like(self._groups)
        slope = self.activation.negative_slope
        march, what = (_general, self.activation) if slope is None else (_leaky_relu, float(slope))

        def run(start, stop):
            blocks = self._edges[start : stop + 1], groups[start:stop]
            march(*blocks, self.a, self.h, what, rate_a, rate_w, c, batch, *factors, self._sums[start:stop])

        blocks = len(self._sums)
        if self._pool is None or self.h.size * max(1, c.shape[1]) < _SERIAL_WORK:
            run(0, blocks)
        else:
            bounds = [blocks * i // self._threads for i in range(self._threads + 1)]
            list(self._pool.map(run, bounds, bounds[1:]))
        return np.add.reduceat(self._sums, self._first, axis=0)

    def _factors(self, count, batch):
        """Matrices left (count, K) and right (K, P + M) with left right = Gram of the batch; left is empty where right alone is cheaper."""
        everything = count == self.train
        dim, points = self.inputs_transposed.shape
        if dim * (count + points) < count * points:
            return self.inputs if everything else self.inputs[batch], self.inputs_transposed
        return np.empty((0, 0)), self.gram if everything else self.gram[batch]


def _block_size(entries, columns):
    """An even number of neurons with about so many entries in all."""
    smallest, largest = _BLOCK_SIZES
    return min(max(entries // columns // 2 * 2, smallest), largest)


def _partition(neurons, groups, block):
    """Edges of the blocks, shape (blocks + 1,), and the first block of each group; no edge parts a pair of neurons 2k, 2k + 1."""
    pairs = (neurons + 1) // 2
    bounds = [pairs * i // groups for i in range(groups + 1)]
    edges, first = [], []
    for start, stop in zip(bounds, bounds[1:]):
        first.append(len(edges))
        edges.extend(range(2 * start, 2 * stop, block))
    return np.array([*edges, neurons]), np.array(first)


@inner_fast
def _descend_leaky_relu(start, stop, a, h, slope, rate_a, rate_w, c, batch, descent):
    """Update a; descent_ri = -rate_w c_i a_r phi'(h_ri) with the old a."""
    for r in range(start, stop):
        factor, total = -rate_w * a[r], 0.0
        row, old = descent[r - start], h[r]
        if len(batch) == 0:
            for i in range(len(c)):
                weighted = c[i] if old[i] > 0 else slope * c[i]
                total += weighted * old[i]
                row[i] = factor * weighted
        else:
            for i in range(len(c)):
                value = old[batch[i]]
                weighted = c[i] if value > 0 else slope * c[i]
                total += weighted * value
                row[i] = factor * weighted
        a[r] -= rate_a * total


@inner
def _add_leaky_relu(start, stop, a, h, change, slope, out):
    """h += change; out += sum_r a_r phi(h_r), pair by pair."""
    for r in range(start, stop - 1, 2):
        a0, a1 = a[r], a[r + 1]
        h0, h1, d0, d1 = h[r], h[r + 1], change[r - start], change[r - start + 1]
        for j in range(len(out)):
            u, v = h0[j] + d0[j], h1[j] + d1[j]
            h0[j], h1[j] = u, v
            out[j] += a0 * (u if u > 0 else slope * u) + a1 * (v if v > 0 else slope * v)
    if (stop - start) % 2:
        r = stop - 1
        for j in range(len(out)):
            u = h[r, j] + change[r - start, j]
            h[r, j] = u
            out[j] += a[r] * (u if u > 0 else slope * u)


@kernel
def _leaky_relu(edges, groups, a, h, slope, rate_a, rate_w, c, batch, left, right, sums):
    """Steps (if there is any c) and new sums of the blocks between `edges`, with the c of their `groups`; `_factors` are left and right."""
    largest = 0
    for k in range(len(edges) - 1):
        largest = max(largest, edges[k + 1] - edges[k])
    descent, product = np.empty((largest, c.shape[1])), np.empty((largest, left.shape[1]))
    change = np.zeros((largest, h.shape[1]))
    for k in range(len(edges) - 1):
        start, stop = edges[k], edges[k + 1]
        n = stop - start
        if c.shape[1] > 0:
            _descend_leaky_relu(start, stop, a, h, slope, rate_a, rate_w, c[groups[k]], batch, descent)
            if rate_w != 0.0:
                factor = descent
                if len(left) > 0:
                    np.dot(descent[:n], left, product[:n])
                    factor = product
                np.dot(factor[:n], right, change[:n])
        sums[k] = 0.0
        _add_leaky_relu(start, stop, a, h, change, slope, sums[k])


@kernel
def _weigh(dphi, a, rate_w, c):
    """dphi_ri <- -rate_w c_i a_r dphi_ri."""
    for r in range(len(a)):
        factor = -rate_w * a[r]
        for i in range(len(c)):
            dphi[r, i] *= factor * c[i]


@kernel
def _add_pairs(a, phi, out):
    """out = sum_r a_r phi_r, pair by pair."""
    out[:] = 0.0
    for r in range(0, len(a) - 1, 2):
        for j in range(len(out)):
            out[j] += a[r] * phi[r, j] + a[r + 1] * phi[r + 1, j]
    if len(a) % 2:
        for j in range(len(out)):
            out[j] += a[-1] * phi[-1, j]


def _general(edges, groups, a, h, activation, rate_a, rate_w, c, batch, left, right, sums):
    """`_leaky_relu` for any activation."""
    largest = int(np.diff(edges).max())
    phi, dphi = np.empty((2, largest, c.shape[1]))
    product, values = np.empty((largest, left.shape[1])), np.empty((largest, h.shape[1]))
    for start, stop, group, out in zip(edges, edges[1:], groups, sums):
        n = stop - start
        if c.shape[1]:
            old = h[start:stop, batch] if len(batch) else h[start:stop, : c.shape[1]]
            activation.evaluate(old, phi[:n], dphi[:n])
            if rate_w != 0.0:
                _weigh(dphi[:n], a[start:stop], rate_w, c[group])
                factor = dphi
                if len(left):
                    np.matmul(dphi[:n], left, out=product[:n])
                    factor = product
                np.matmul(factor[:n], right, out=values[:n])
                h[start:stop] += values[:n]
            a[start:stop] -= rate_a * (phi[:n] @ c[group])
        activation.evaluate(h[start:stop], values[:n])
        _add_pairs(a[start:stop], values[:n], out)
