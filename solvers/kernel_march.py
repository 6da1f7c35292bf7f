"""Kernel evolution of an infinitely wide nonlinear network on a data set: sampled single-site fields, marched once through time.

Layer l has the fields h_mu(t), features phi = phi(h), and g_{mu c}(t) = phi'(h_mu) z_{mu c}, driven by Gaussian processes
u ~ (0, Phi^{l-1}) and r ~ (0, G^{l+1}) and by their own past. Both processes are expanded in a basis that grows with time: an online
truncated Gram-Schmidt process gives phi^l(t) = L(t) Q with <Q Q> = 1, and u^{l+1}(t) = L(t) eps with one fresh normal column of
the next layer per element of the basis; the same for g^l, Q_g and r^{l-1}. Then, with state rows U = c eps + M and R = c eps_r + M_r,

    h(t) = L_phi^{l-1}(t) U + c a(t) Q_g      a = <phi^{l-1}(t) eps_r^{l-1}>       U += eta e sum Delta L_phi^{l-1}(t)^T g(t)
    z(t) = L_g^{l+1}(t) R + c b(t) Q_phi      b = <g^{l+1}(t) eps_u^{l+1}>         R += eta e sum Delta L_g^{l+1}(t)^T phi(t)
    f(t) = <R^L phi^L(t)> / gamma             e = gamma / P

(plain gradient descent; c = 1 without weight decay). The memory sums need no history and the responses a, b no derivative: they are
covariances with the Gaussian innovations, by Stein's lemma. Sampling errors are reduced by antithetic pairs (r -> -r at the same u),
exact second moments of the innovations and scrambled Sobol points.

Source: docs/theory/kernel_evolution.md, sections 2, 5 and 7; equations of arXiv 2205.09653.
"""

from typing import NamedTuple

import numpy as np

from .finite_network import optimizer_step
from .kernel_problem import errors_on_points
from .sample_blocks import Basis, Innovations, NormalColumns, Stack, combine, contract, deposit

BLOCK = 512
#: Of predictions, and squared of kernels: sums of their products are doubles.
DIVERGED = 1e140


class Step(NamedTuple):
    """One time of the march; P + M points, C outputs.

    Attributes
    ----------
    t : int
    predictions, errors : ndarray (P + M, C)
        f and Delta; Delta is zero on test points.
    features : list of L + 1 ndarrays (P + M, r_l)
        Factors of Phi^0 ... Phi^L: Phi^l(t, s) = features[l](t) features[l](s)^T, columns that a row lacks being zero.
    gradients : list of L + 1 ndarrays (P', C, r_l)
        Factors of G^1 ... G^{L+1} in the same way. P' = P, or P + M where gradients at test points are asked for.
    feature_grams : list of L + 1 ndarrays (P + M, P + M)
    gradient_grams : list of L + 1 ndarrays (P', C, P', C)
        Phi^l and G^l at equal times, of full rank.
    dropped : float
        Largest fraction of variance that truncation or the rank cap left out of a factor at this time.
    preactivations : list of L ndarrays (P + M, S), or None
        Samples of h^1 ... h^L, antithetic mates in the second half of every block of samples.
    """

    t: int
    predictions: np.ndarray
    errors: np.ndarray
    features: list
    gradients: list
    feature_grams: list
    gradient_grams: list
    dropped: float
    preactivations: list | None

    def tangent_kernel(self):
        """K = sum_l Phi^{l-1} o G^l over all L + 1 weight matrices, (P', C, P', C)."""
        points = len(self.gradients[0])
        features = (gram[:points, None, :points, None] for gram in self.feature_grams)
        return sum(phi * g for phi, g in zip(features, self.gradient_grams))


class _Overflow(Exception):
    """Fields beyond any reasonable bound."""


class Weights:
    """Rows of c eps + M under the optimizer, with the buffer of momentum where there is one."""

    def __init__(self, blocks, size, optimizer, dtype):
        self.rows = Stack(blocks, size, dtype)
        self.buffer = Stack(blocks, size, dtype) if optimizer["momentum"] else None
        self.optimizer = optimizer

    def append(self, eps, sign, weight, buffer):
        """New rows weight * eps; `sign` is that of the antithetic mates."""
        for stack, scale in ((self.rows, weight), (self.buffer, buffer)):
            if stack is not None:
                rows, half = stack.grow(eps.shape[1]), eps.shape[2]
                np.multiply(eps, float(scale), out=rows[:, :, :half])
                np.multiply(eps, float(sign * scale), out=rows[:, :, half:])

    def update(self, b, count, coefficients, fields, rate):
        """Step of block b and the first `count` rows with the gradient coefficients^T fields."""
        rows, options, rate = self.rows.array[b, :count], self.optimizer, float(rate)
        if self.buffer is None:
            deposit(rate * coefficients, fields, rows, keep=1.0 - rate * options["weight_decay"])
        elif options["nesterov"]:
            gradient = np.zeros_like(rows)
            deposit(coefficients, fields, gradient)
            optimizer_step(rows, self.buffer.array[b, :count], gradient, rate, **options)
        else:
            buffer, decay = self.buffer.array[b, :count], options["weight_decay"]
            deposit(coefficients, fields, buffer, keep=options["momentum"])
            if decay and options["decoupled"]:
                rows *= 1.0 - rate * decay
            elif decay:
                buffer -= decay * rows
            rows += rate * buffer


class Layer:
    """State and fields of one layer."""

    def __init__(self, blocks, size, points, fields, seed, sobol, optimizer, tolerance, cap, dtype):
        source = NormalColumns(blocks, size // 2, seed, sobol)
        self.eps_u, self.eps_r = Innovations(source, dtype), Innovations(source, dtype)
        self.U = Weights(blocks, size, optimizer, dtype)
        self.R = Weights(blocks, size, optimizer, dtype)
        self.feature_basis = Basis(blocks, size, tolerance, cap, dtype)
        self.gradient_basis = Basis(blocks, size, tolerance, cap, dtype)
        self.phi = np.empty((blocks, points, size), dtype)
        self.slope = np.empty((blocks, points, size), dtype)
        self.g = np.empty((blocks, fields, size), dtype)

    def drive_u(self, k, weight, buffer):
        """k more columns of u."""
        if k:
            self.U.append(self.eps_u.take(k), 1.0, weight, buffer)

    def drive_r(self, k, weight, buffer):
        """k more columns of r."""
        if k:
            self.R.append(self.eps_r.take(k), -1.0, weight, buffer)


def default_cap(samples):
    """Largest rank of a basis."""
    return samples // 8


def memory_estimate(problem, samples, ranks, test_gradients=False, outer_kernels=True, dtype=np.float64):
    """Bytes of the sampled state when the bases of features and gradients have `ranks` elements.

    Per element of a basis: itself, three quarters of a row of normal columns in store and, between two layers, a row of weights (two with
    momentum) and half a row of innovations. Measured, 1.4 times that is used, as arrays are moved when they grow.
    """
    back, between, elements = problem.points if test_gradients else problem.samples, problem.layers - 1, sum(ranks)
    per_element = between * (2.5 + bool(problem.momentum)) + outer_kernels + 0.75 * problem.layers
    fields = problem.layers * (2 * problem.points + back * problem.outputs) + 1.5 * (problem.points + problem.outputs)
    return int(1.4 * np.dtype(dtype).itemsize * samples * (elements * per_element + fields))


def flop_estimate(problem, samples, rank, test_gradients=False):
    """Floating-point operations of a march whose bases have `rank` elements on the average."""
    points, back = problem.points, problem.points if test_gradients else problem.samples
    fields = back * problem.outputs
    per_element = 3.5 * (points + fields) + problem.samples * (1 + problem.outputs)
    return 2.0 * problem.times * problem.layers * samples * rank * per_element


def march(
    problem,
    samples=4096,
    seed=0,
    tolerance=1e-4,
    cap=None,
    responses=True,
    readout="network",
    test_gradients=False,
    outer_kernels=True,
    save_preactivations=(),
    sobol=True,
    dtype=np.float64,
):
    """March one replica.

    Parameters
    ----------
    problem : KernelProblem
    samples : int
        S, antithetic mates included; a power of two.
    seed : int or sequence of int
    tolerance : float
        Residual variance, relative to the mean variance of a field, below which a basis is not extended.
    cap : int, optional
        Largest rank of a basis; S / 8 by default. Many more samples than basis elements are needed.
    responses : bool
        False drops a and b: the gradient-independence approximation, with readout="tangent", as <z phi> then lacks the lower layers.
    readout : {"network", "tangent"}
        "network" is exact: f = <z phi> / gamma. "tangent" integrates f(t+1) = f(t) + eta / P K(t) Delta(t) with the tangent kernel, as
        is done for gradient flow and in the gradient-independence approximation; plain gradient descent only.
    test_gradients : bool
        Follow g at test points too.
    outer_kernels : bool
        Whether Phi^L and G^1 between different times are wanted; the march itself does not need them.
    save_preactivations : collection of int
        Times at which samples of h are kept.
    sobol : bool
        Quasi-random innovations.
    dtype : numpy.float64 or numpy.float32
        Of the samples. Single precision takes half the memory and about half the time; its errors stay far below sampling errors as
        long as `tolerance` is not below 1e-5.

    Yields
    ------
    Step
        T of them; fewer where training diverges.
    """
    if samples < 16 or samples & (samples - 1):
        raise ValueError(f"samples must be a power of two and at least 16, not {samples}")
    if cap and cap > samples // 4:
        raise ValueError(f"cap must be at most a quarter of the samples, {samples // 4}, not {cap}")
    needed = 8 * problem.points * problem.outputs
    if samples < needed:
        raise ValueError(f"{samples} samples are too few for {problem.points} points: at least {needed}")
    if readout not in ("network", "tangent"):
        raise ValueError(f'readout must be "network" or "tangent", not {readout!r}')
    tangent = readout == "tangent"
    if tangent and (problem.momentum or problem.weight_decay):
        raise ValueError('readout="tangent" knows plain gradient descent only')
    cap = cap or default_cap(samples)
    follow_all = test_gradients or tangent
    state = _State(problem, samples, seed, tolerance, cap, responses, follow_all, outer_kernels, sobol, dtype)
    previous = np.zeros((problem.points, problem.outputs))
    for t in range(problem.times):
        try:
            kept = state.forward(t in save_preactivations)
            f = previous if tangent else state.readout() / problem.richness
            if not np.max(np.abs(f)) < DIVERGED:
                return
            state.errors = errors_on_points(problem, f)
            state.backward(t)
        except _Overflow:
            return
        step = state.step(t, f, kept)
        yield step
        if tangent and t < len(problem.rates):
            change = np.tensordot(step.tangent_kernel(), state.errors, axes=2)
            previous = f + problem.rates[t] / problem.samples * change
        state.advance(t)


class _State:
    """Layers, factors of the kernels of the present time, and the scalar weight c with its momentum buffer."""

    def __init__(self, problem, samples, seed, tolerance, cap, responses, test_gradients, outer_kernels, sobol, dtype):
        self.dtype = np.dtype(dtype)
        L, P, C = problem.layers, problem.samples, problem.outputs
        size = min(BLOCK, samples)
        self.blocks, self.samples, self.size = samples // size, samples, size
        self.problem, self.responses, self.outer = problem, responses, outer_kernels
        self.back = problem.points if test_gradients else P
        self.optimizer = {k: getattr(problem, k) for k in ("momentum", "nesterov", "weight_decay", "decoupled")}
        seeds = np.random.SeedSequence(seed).spawn(L)
        self.layers = [
            Layer(self.blocks, size, problem.points, self.back * C, s, sobol, self.optimizer, tolerance, cap, self.dtype) for s in seeds
        ]
        self.weight, self.buffer = np.ones(()), np.zeros(())
        variances, vectors = np.linalg.eigh(problem.gram)
        kept = variances > 1e-14 * variances[-1]
        root = np.ascontiguousarray(vectors[:, kept] * np.sqrt(variances[kept]))
        self.features = [root] + [None] * L
        self.gradients = [None] * L + [np.tile(np.eye(C), (self.back, 1))]
        self.feature_grams = [problem.gram] + [None] * L
        self.gradient_grams = [None] * L + [self.gradients[L] @ self.gradients[L].T]
        self.errors = None
        self.layers[0].drive_u(root.shape[1], 1.0, 0.0)
        self.layers[-1].drive_r(C, 1.0, 0.0)
        self.a, self.pending = [None] * L, [None] * L
        self.dropped = 0.0

    def step(self, t, f, preactivations):
        """`Step` of the present time."""
        fields = self.back, self.problem.outputs
        gradients = [g.reshape(*fields, -1) for g in self.gradients]
        gradient_grams = [g.reshape(2 * fields) for g in self.gradient_grams]
        features, feature_grams = [*self.features], [*self.feature_grams]
        return Step(t, f, self.errors, features, gradients, feature_grams, gradient_grams, self.dropped, preactivations)

    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, keep):
        """h, phi, phi' of every layer; bases, features and new columns of u. Returns samples of h where `keep`."""
        problem, kept = self.problem, [] if keep else None
        points, size, half, S, dtype = problem.points, self.size, self.size // 2, self.samples, self.dtype
        h, difference = np.empty((points, size), dtype), np.empty((points, half), dtype)
        self.dropped = 0.0
        for l, layer in enumerate(self.layers):
            last = l == len(self.layers) - 1
            lower, a = self.features[l].astype(dtype, copy=False), self.a[l]
            basis, gradient_basis, eps_r = layer.feature_basis, layer.gradient_basis, layer.eps_r
            wants_basis, wants_response = not last or self.outer, not last and self.responses
            coefficients = np.zeros((points, basis.rows.count), dtype)
            gram, response = np.zeros((points, points)), np.zeros((points, eps_r.used), dtype)
            samples = np.empty((points, self.blocks, size)) if keep else None
            for b in range(self.blocks):
                phi = layer.phi[b]
                if self.pending[l] is not None:
                    layer.U.update(b, *self.pending[l][:2], layer.g[b], self.pending[l][2])
                combine(lower, layer.U.rows.block(b), h)
                gradient_basis.fill(b, layer.g[b])
                if a is not None:
                    combine(a, gradient_basis.rows.block(b), h, keep=1.0)
                problem.activation.evaluate(h, phi, layer.slope[b])
                gram += phi @ phi.T
                if wants_basis:
                    basis.correct(b)
                    contract(phi, basis.rows.block(b), coefficients)
                if wants_response:
                    np.subtract(phi[:, :half], phi[:, half:], out=difference)
                    contract(difference, eps_r.block(b), response)
                if keep:
                    samples[:, b] = h
            gradient_basis.filled()
            basis.corrected()
            gram /= S
            if not np.max(np.abs(gram)) < DIVERGED**2:
                raise _Overflow
            self.feature_grams[l + 1] = gram
            if keep:
                kept.append(samples.reshape(points, S))
            if wants_basis:
                self.features[l + 1], dropped = basis.plan(coefficients.astype(float) / S, gram)
                self.dropped = max(dropped, self.dropped)
            else:
                self.features[l + 1] = np.zeros((points, 0))
            if not last:
                self.layers[l + 1].drive_u(basis.rows.count - coefficients.shape[1], self.weight, self.buffer)
            if wants_response:
                self.a[l + 1] = (response * (float(self.weight) / S)).astype(dtype, copy=False)
        return kept

    def readout(self):
        """<z phi> of the last layer, (P + M, C)."""
        last, total = self.layers[-1], np.zeros((self.problem.points, self.problem.outputs), self.dtype)
        for b in range(self.blocks):
            contract(last.phi[b], last.R.rows.block(b), total)
        return total.astype(float) / self.samples

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, t):
        """g of every layer from the last to the first; bases, factors of G, new columns of r; steps of the R rows."""
        problem, C = self.problem, self.problem.outputs
        P, back, half, S = problem.samples, self.back, self.size // 2, self.samples
        fields, dtype = back * C, self.dtype
        z, summed = np.empty((fields, self.size), dtype), np.empty((fields, half), dtype)
        scaled = problem.richness / P * self.errors[:P]
        training = t < len(problem.rates)
        b_response = None
        for l in reversed(range(len(self.layers))):
            layer, upper = self.layers[l], self.gradients[l + 1].astype(dtype, copy=False)
            basis, feature_basis, eps_u = layer.gradient_basis, layer.feature_basis, layer.eps_u
            wants_basis, wants_response = l > 0 or self.outer, l > 0 and self.responses
            coefficients = np.zeros((fields, basis.rows.count), dtype)
            gram, response = np.zeros((fields, fields)), np.zeros((fields, eps_u.used), dtype)
            memory = np.einsum("pc,pcr->pr", scaled, upper.reshape(back, C, -1)[:P]).astype(dtype, copy=False)
            count = layer.R.rows.count
            for b in range(self.blocks):
                g, slope, phi = layer.g[b], layer.slope[b], layer.phi[b]
                combine(upper, layer.R.rows.block(b), z)
                feature_basis.fill(b, phi)
                if b_response is not None:
                    combine(b_response, feature_basis.rows.block(b), z, keep=1.0)
                np.multiply(z.reshape(back, C, -1), slope[:back, None], out=g.reshape(back, C, -1))
                if training:
                    layer.R.update(b, count, memory, phi[:P], problem.rates[t])
                gram += g @ g.T
                if wants_basis:
                    basis.correct(b)
                    contract(g, basis.rows.block(b), coefficients)
                if wants_response:
                    np.add(g[:, :half], g[:, half:], out=summed)
                    contract(summed, eps_u.block(b), response)
            feature_basis.filled()
            basis.corrected()
            gram /= S
            if not np.max(np.abs(gram)) < DIVERGED**2:
                raise _Overflow
            self.gradient_grams[l] = gram
            if wants_basis:
                self.gradients[l], dropped = basis.plan(coefficients.astype(float) / S, gram)
                self.dropped = max(dropped, self.dropped)
            else:
                self.gradients[l] = np.zeros((fields, 0))
            if l > 0:
                self.layers[l - 1].drive_r(basis.rows.count - coefficients.shape[1], self.weight, self.buffer)
            b_response = (response * (float(self.weight) / S)).astype(dtype, copy=False) if wants_response else None

    def advance(self, t):
        """Note the steps of the U rows, which the next forward pass makes, and the step of c."""
        problem = self.problem
        if t == len(problem.rates):
            return
        scaled = problem.richness / problem.samples * self.errors[: self.back]
        for l, layer in enumerate(self.layers):
            lower = self.features[l][: self.back]
            pending = (scaled[:, :, None] * lower[:, None, :]).reshape(self.back * problem.outputs, -1)
            self.pending[l] = layer.U.rows.count, pending.astype(self.dtype, copy=False), problem.rates[t]
        optimizer_step(self.weight, self.buffer, np.zeros(()), problem.rates[t], **self.optimizer)
