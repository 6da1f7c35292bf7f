"""Feature-learning limits of deep networks in abc-parameterizations, marched once through time with sampled neurons.

Neurons of layer l have the fields h_t(a), x = phi(h) and delta = phi'(h) dx, n points a of which the first P are trained on; <.> is the
mean over neurons, chi = dLoss/df, and w_s are the learning rates of step s:

    h^l_t(a) = b^l + mu <x^{l-1}_t(a)> + (W^l x^{l-1}_t(a)) - sum_{s<t,b} w_s (<x^{l-1}_s(b) x^{l-1}_t(a)> + 1_bias) delta^l_s(b)
    dx^{l-1}_t(a) = mu <delta^l_t(a)> + (W^l^T delta^l_t(a)) - sum_{s<t,b} w_s <delta^l_s(b) delta^l_t(a)> x^{l-1}_s(b)
    dx^L = chi . V,    V -= w_s sum_b chi_s(b) x^L_s(b),    f = <V x^L> + output bias

What distinguishes the limits is how long the initial matrices W^l, l = 2 ... L, are felt (`MATRICES`), and means and biases. Where they
are felt, W^l x is a Gaussian field with responses: a matrix of which only the projections that are needed are drawn (`InitialMatrix`).
Source: docs/theory/deep_parameterizations.md, sections 3 and 4; arXiv 2110.15596.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

#: When the initial matrices between hidden layers act: always (muP); in the first step only (hybrid muP, IP-LLR); in the first backward
#: pass only, as in the first step with large rates of a network whose preactivations are biases (IP-bias); never (integrable).
MATRICES = ("always", "first step", "first backward pass", "never")

#: Variance of a field, relative to the mean variance of the fields shown with it, below which a basis is not extended.
_TOLERANCE = 1e-5
#: Columns of normal variables of a layer that come from one Sobol sequence; later ones are pseudo-random.
_QUASI_RANDOM = 128


class Step(NamedTuple):
    """One time of a march.

    Attributes
    ----------
    f : ndarray, shape (n, C)
    dropped : float
        Largest fraction of the variance of fields that bounding the rank of a basis has left out so far.
    """

    f: np.ndarray
    dropped: float


class Rows:
    """Array of rows that grows, its capacity doubling."""

    def __init__(self, size):
        self._array, self._count = np.empty((16, size)), 0

    @property
    def array(self):
        return self._array[: self._count]

    def append(self, rows):
        end = self._count + len(rows)
        if end > len(self._array):
            grown = np.empty((max(end, 2 * len(self._array)), self._array.shape[1]))
            grown[: self._count] = self.array
            self._array = grown
        self._array[self._count : end] = rows
        self._count = end


class Basis:
    """Orthonormal basis of fields that are shown one after another, by truncated Gram-Schmidt; <q_j q_k> = delta_jk.

    The rank is at most an eighth of the neurons, as sampling errors grow with their ratio.

    Parameters
    ----------
    size : int
        Neurons of a field.
    """

    def __init__(self, size):
        self._rows, self.dropped = Rows(size), 0.0

    @property
    def rows(self):
        return self._rows.array

    def coefficients(self, fields):
        """Of fields, shape (k, size), in the basis, which is extended by what they add to it: shape (k, rank)."""
        size = fields.shape[1]
        inner = fields @ self.rows.T / size
        residual = fields - inner @ self.rows
        gram, power = residual @ residual.T / size, np.mean(fields**2)
        if not np.all(np.isfinite(gram)):
            raise FloatingPointError("the fields overflow")
        variances, vectors = np.linalg.eigh(gram)
        wanted = variances > _TOLERANCE * power
        kept = wanted & (np.arange(len(gram), 0, -1) <= size // 8 - len(self.rows))
        if np.any(wanted & ~kept):
            self.dropped = max(self.dropped, np.sum(variances[wanted & ~kept]) / (len(gram) * power))
        roots, vectors = np.sqrt(variances[kept]), vectors[:, kept]
        new = (vectors / roots).T @ residual
        self._rows.append(new - (new @ self.rows.T / size) @ self.rows)
        return np.concatenate([inner, vectors * roots], axis=1)


class NormalColumns:
    """Source of the normal columns of a layer, one neuron per row of a scrambled Sobol sequence where their number is a power of 2.

    Parameters
    ----------
    size : int
        Neurons.
    rng : numpy.random.Generator
    """

    def __init__(self, size, rng):
        self._size, self._rng, self._left = size, rng, np.empty((0, size))
        if size & (size - 1) == 0:
            points = qmc.Sobol(_QUASI_RANDOM, seed=rng).random(size).T
            self._left = ndtri(np.clip(points, 1e-12, 1 - 1e-12))

    def take(self, count):
        """The next columns, shape (count, size)."""
        taken, self._left = self._left[:count], self._left[count:]
        return np.concatenate([taken, self._rng.standard_normal((count - len(taken), self._size))])


class Innovations:
    """Standard normal columns in antithetic pairs, with exact second moments; mates are in the second half.

    Parameters
    ----------
    source : NormalColumns
        Of half the neurons.
    size : int
        Neurons, mates included.
    sign : {1.0, -1.0}
        Of mates.
    """

    def __init__(self, source, size, sign):
        self._rows, self._half, self._sign, self._source = Rows(size), size // 2, sign, source

    def upto(self, count):
        """The first `count` columns, as rows, drawn where they are new."""
        rows = self._rows.array
        if count > len(rows):
            fresh, old = self._source.take(count - len(rows)), rows[:, : self._half]
            for _ in range(2):
                fresh -= (fresh @ old.T / self._half) @ old
                fresh = np.linalg.solve(np.linalg.cholesky(fresh @ fresh.T / self._half), fresh)
            self._rows.append(np.concatenate([fresh, self._sign * fresh], axis=1))
        return self._rows.array[:count]


class InitialMatrix:
    """Centred Gaussian matrix W from one layer to the next, of which only what is asked for is drawn.

    With x = sum_k L_k q_k the product W x is scale (sum_k L_k e_k + sum_j <x e'_j> q'_j), where q' is the basis of the fields to which
    W^T was applied and e' its innovations: the second sum are the responses, by Stein's lemma. W^T acts in the same way.

    Parameters
    ----------
    scale : float
        Standard deviation of the entries times the square root of the width.
    size : int
        Neurons of either layer.
    below, above : Innovations
        Of the neurons from which W leads (for W^T) and to which it leads.
    """

    def __init__(self, scale, size, below, above):
        self.scale, self.below, self.above = scale, below, above
        self.inputs, self.outputs = Basis(size), Basis(size)

    def forward(self, x, responses=True):
        """W x of fields x, shape (k, neurons)."""
        return self._product(x, self.inputs, self.above, self.outputs, self.below, responses)

    def backward(self, delta, responses=True):
        """W^T delta."""
        return self._product(delta, self.outputs, self.below, self.inputs, self.above, responses)

    def _product(self, fields, basis, innovations, other, source, responses):
        inner = basis.coefficients(fields)
        product = inner @ innovations.upto(inner.shape[1])
        if responses and len(other.rows):
            product += (fields @ source.upto(len(other.rows)).T / fields.shape[1]) @ other.rows
        return self.scale * product


class _Memory:
    """Past fields x of a layer and delta of the next, with their learning rates."""

    def __init__(self, capacity, size):
        self.x, self.delta = np.empty((capacity, size)), np.empty((capacity, size))
        self.rates, self.count = np.empty((capacity, 1)), 0

    def append(self, x, delta, rate):
        start, self.count = self.count, self.count + len(x)
        self.x[start : self.count], self.delta[start : self.count], self.rates[start : self.count] = x, delta, rate

    def forward(self, x, bias):
        """What past updates add to the preactivations of fields x."""
        return self._apply(x, self.x, self.delta, bias)

    def backward(self, delta):
        return self._apply(delta, self.delta, self.x, 0.0)

    def _apply(self, fields, seen, written, bias):
        overlaps = seen[: self.count] @ fields.T / fields.shape[1] + bias
        return -(self.rates[: self.count] * overlaps).T @ written[: self.count]


def march(
    gram,
    train,
    activation,
    scale,
    depth,
    derivative,
    rates,
    outputs,
    samples,
    seed,
    matrices="always",
    mean=0.0,
    bias=False,
    readout=1.0,
    initial_function=0.0,
    tie=True,
    responses=True,
):
    """March one system of neurons.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        x.x' of the points, training samples first.
    train : int
        P.
    activation : solvers.activations.Activation
    scale : float
        Standard deviation of initial weights and biases of hidden layers in units of their power of the width.
    depth : int
        L.
    derivative : callable(step, f)
        chi of shape (P, C) at f of the same shape.
    rates : ndarray, shape (steps, L + 1)
        Learning rate of each weight matrix, in units of its power of the width.
    outputs : int
        C.
    samples : int
        Neurons per layer, best a power of 2: half of them are mates with the opposite V and W^T delta.
    seed : int, sequence of int or SeedSequence
    matrices : str
        One of `MATRICES`.
    mean : float
        mu, of the entries of all weights but those of the first layer.
    bias : bool
        Every layer has biases that are trained with the rate of its weights.
    readout : {1.0, 0.0}
        Size of the centred part of the initial V; 0 where the readout's updates outgrow it.
    initial_function : ndarray, shape (n, C), or 0
        Logits at the start that do not come from V: the output bias.
    tie : bool
        Where h^L vanishes at infinite width, the slope of a kinked phi is taken on the side on which W^L x^{L-1}, which vanishes with the
        width, puts it (docs/theory/deep_parameterizations.md, section 3.3). False: from the left, phi'(0).
    responses : bool
        False drops the responses, which is wrong.

    Yields
    ------
    Step
        Before each step and after the last.

    Raises
    ------
    FloatingPointError
        When fields overflow: training diverges.
    """
    P, L = train, depth
    sources = [NormalColumns(samples // 2, np.random.default_rng(s)) for s in _spawned(seed, L)]
    above, below = ([Innovations(source, samples, sign) for source in sources] for sign in (1.0, -1.0))
    initial = [InitialMatrix(scale, samples, below[l - 1], above[l]) for l in range(1, L)]
    memories = [_Memory(len(rates) * P, samples) for _ in range(1, L)]
    tie = tie and activation.negative_slope not in (None, 1.0) and matrices in ("first step", "never") and not mean and L > 1

    kernel = gram + bias
    root = _root(kernel)
    first = scale * root @ above[0].upto(root.shape[1])
    shift = [np.zeros((1, samples))] * L
    if bias:
        shift[1:] = [scale * field.upto(1) for field in above[1:]]
    V = readout * below[-1].upto(outputs) + mean
    f0 = initial_function + np.zeros((len(gram), outputs))

    for t in range(len(rates) + 1):
        at_first = t == 0
        forward_acts = matrices == "always" or (at_first and matrices == "first step")
        backward_acts = matrices == "always" or (at_first and matrices != "never")
        h, fields, slopes = first, [], []
        for l in range(L):
            if l:
                x = fields[-1]
                h = shift[l] + memories[l - 1].forward(x, float(bias)) + mean * np.mean(x, axis=1, keepdims=True)
                if forward_acts:
                    h = h + initial[l - 1].forward(x, responses)
            fields.append(np.empty_like(h))
            slopes.append(np.empty_like(h))
            activation.evaluate(h, fields[-1], slopes[-1])
        f = f0 + fields[-1] @ V.T / samples
        yield Step(f, max((basis.dropped for matrix in initial for basis in (matrix.inputs, matrix.outputs)), default=0.0))
        if t == len(rates):
            return
        if tie and not forward_acts:
            _break_ties(activation, initial[-1].forward(fields[-2][:P]), h[:P], slopes[-1])
        chi = derivative(t, f[:P])
        x, dx, rate = [field[:P] for field in fields], chi @ V, rates[t]
        V = V - rate[L] * chi.T @ x[-1]
        if bias:
            f0 = f0 - rate[L] * np.sum(chi, axis=0)
        for l in reversed(range(1, L)):
            delta = dx * slopes[l][:P]
            dx = memories[l - 1].backward(delta) + mean * np.mean(delta, axis=1, keepdims=True)
            if backward_acts:
                dx += initial[l - 1].backward(delta, responses)
            memories[l - 1].append(x[l - 1], delta, rate[l])
        first = first - rate[0] * kernel[:, :P] @ (dx * slopes[0][:P])


def _break_ties(activation, fields, h, slopes):
    """Take the slopes at h = 0 at `fields` instead."""
    values, sides = np.empty_like(fields), np.empty_like(fields)
    activation.evaluate(fields, values, sides)
    slopes[: len(h)] = np.where(h == 0.0, sides, slopes[: len(h)])


def _root(covariance):
    variances, vectors = np.linalg.eigh(covariance)
    kept = variances > 1e-14 * variances[-1]
    return vectors[:, kept] * np.sqrt(variances[kept])


def _spawned(seed, count):
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return root.spawn(count)


def _next(march):
    with np.errstate(over="ignore", invalid="ignore"):
        return next(march, None)


def averaged(marches, threads=1):
    """Mean of independent systems and its standard error, at every time of the marches.

    Every system is driven by its own logits. The spread of its neurons would not do: all feel the same error of chi.

    Parameters
    ----------
    marches : list of iterators of Step
    threads : int
        That share the systems; limit BLAS to one thread then.

    Yields
    ------
    f, error : ndarray, shape (n, C)
    dropped : float
        As in `Step`.
    """
    with ThreadPoolExecutor(threads) as pool:
        while all(steps := list(pool.map(_next, marches))):
            values = [step.f for step in steps]
            yield np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values)), max(step.dropped for step in steps)
