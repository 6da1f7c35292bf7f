"""Training of one finite deep linear network, step by step, with explicit random weights.

    f_c(x) = sqrt(D) / (gamma N_L) w_c . h^L,  h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l h^l / sqrt(N_l)

and the ascent directions of arXiv 2502.02531 (docs/theory/deep_linear.md, section 0). With N_0 = D and
h^0_c = u_c = (sqrt(D)/P) X^T Delta_c all hidden weights read alike: h^{l+1} = W^l h^l / sqrt(N_l) forwards,
g^l = W^{lT} g^{l+1} / sqrt(N_l) backwards from g^L = w, G_{W^l} = gamma / sqrt(N_l) sum_c g^{l+1}_c h^{lT}_c, G_w = gamma h^L, and the
error of the map is v_c = w*_c - D / (gamma N_L) g^0_c. Where a residual network has branches, h^{l+1} = h^l + beta W^l h^l / sqrt(N) and
g^l = g^{l+1} + beta W^{lT} g^{l+1} / sqrt(N), l = 1 ..., the gradients of W^l have the factor beta too.
Vectors of the C outputs are the rows of (C, N) arrays.

A step is bound by the memory traffic of the weights. They are read once forwards and once backwards; as every G has rank C, the
updates are kept as factors and added to the matrices only once in many steps (`LowRankLayers`).
"""

from functools import partial

import numpy as np
from scipy.linalg.blas import dgemm


def optimizer_step(weights, buffer, gradient, rate, momentum, nesterov, weight_decay, decoupled):
    """One step of the optimizer, in place on the arrays `weights` and `buffer` (docs/theory/deep_linear.md, section 2)."""
    if decoupled:
        weights *= 1 - rate * weight_decay
    else:
        gradient = gradient - weight_decay * weights
    buffer *= momentum
    buffer += gradient
    weights += rate * (gradient + momentum * buffer if nesterov else buffer)


class LowRankLayers:
    """Hidden weights W^l and momentum buffers M^l between two flushes, exact in the basis (W_base, M_base, G_1, G_2, ...).

    The optimizer is linear and treats all entries alike, so it acts on the coordinates of W and M in that basis, which all layers
    share. When the factors of the G_s fill their store they are added to the matrices, and the basis starts afresh.

    Parameters
    ----------
    matrices : list of ndarray, shapes (N_{l+1}, N_l)
        Initial weights, updated in place.
    optimizer : dict
        Constants of `optimizer_step`.
    rank : int
        Rows of factors between two flushes, at least the number of outputs.
    """

    def __init__(self, matrices, optimizer, rank):
        self.matrices = matrices
        self.buffers = None
        self.keeps_buffer = optimizer["momentum"] > 0
        self.step = partial(optimizer_step, **optimizer)
        self.rank = rank
        self.left = [np.empty((rank, m.shape[0])) for m in matrices]
        self.right = [np.empty((rank, m.shape[1])) for m in matrices]
        self._restart()

    def _restart(self):
        self.count = 0
        self.weight_coordinates, self.buffer_coordinates = np.zeros((2, 2 + self.rank))
        self.weight_coordinates[0] = self.buffer_coordinates[1] = 1

    def forward(self, layer, h):
        """h W^T for h of shape (C, N_l): shape (C, N_{l+1})."""
        buffer = self.buffers[layer].T if self.buffers else None
        return self._product(h, self.matrices[layer].T, buffer, self.right[layer], self.left[layer])

    def backward(self, layer, g):
        """g W for g of shape (C, N_{l+1}): shape (C, N_l)."""
        buffer = self.buffers[layer] if self.buffers else None
        return self._product(g, self.matrices[layer], buffer, self.left[layer], self.right[layer])

    def _product(self, x, matrix, buffer, near, far):
        n, coordinates = self.count, self.weight_coordinates
        result = coordinates[0] * (x @ matrix)
        if buffer is not None:
            result += coordinates[1] * (x @ buffer)
        result += (x @ near[:n].T * coordinates[2 : 2 + n]) @ far[:n]
        return result

    def update(self, factors, rate):
        """Step with gradients G_{W^l} = left^T right; `factors` lists (left, right) of shapes (C, N_{l+1}) and (C, N_l)."""
        if self.count + len(factors[0][0]) > self.rank:
            self.flush()
        self.step(self.weight_coordinates, self.buffer_coordinates, self.added(factors), rate)

    def added(self, factors):
        """Coordinates of the gradients of these `factors`, which join the basis; there must be room for them."""
        new = slice(self.count, self.count + len(factors[0][0]))
        for layer, (left, right) in enumerate(factors):
            self.left[layer][new] = left
            self.right[layer][new] = right
        gradient = np.zeros(2 + self.rank)
        gradient[2 + new.start : 2 + new.stop] = 1
        self.count = new.stop
        return gradient

    def flush(self):
        """Add the factors to the matrices."""
        if self.keeps_buffer and self.buffers is None:
            self.buffers = [np.zeros_like(m) for m in self.matrices]
        n, w, m = self.count, self.weight_coordinates, self.buffer_coordinates
        for layer, matrix in enumerate(self.matrices):
            left, right = self.left[layer][:n], self.right[layer][:n]
            if self.keeps_buffer:
                buffer = self.buffers[layer]
                for row in range(len(matrix)):
                    matrix[row], buffer[row] = w[0] * matrix[row] + w[1] * buffer[row], m[0] * matrix[row] + m[1] * buffer[row]
                add_product(buffer, 1.0, left * m[2 : 2 + n, None], right)
            add_product(matrix, 1.0 if self.keeps_buffer else w[0], left * w[2 : 2 + n, None], right)
        self._restart()


def add_product(matrix, scale, left, right):
    """matrix <- scale matrix + left^T right, in place."""
    dgemm(1.0, right.T, left.T, beta=scale, c=matrix.T, trans_b=True, overwrite_c=True)


def population_gradient(v, eigenvalues, noise_power):
    """u = Lambda v and the mean squared error on the population, sum_kc lambda_k v_kc^2 / D + noise power. Shapes as in `march`."""
    u = eigenvalues * v
    return u, np.sum(u * v) / v.shape[1] + noise_power


def sample_gradient(v, x, noise, kept=None):
    """u = (sqrt(D)/P) X^T Delta with Delta = X v / sqrt(D) + noise, and the training loss sum Delta^2 / P.

    Parameters
    ----------
    v : ndarray, shape (C, D)
    x : ndarray, shape (P, D)
    noise : ndarray, shape (C, P)
    kept : ndarray of int, optional
        Samples of the mini-batch that makes u; the loss is that of all P samples.
    """
    samples, dim = x.shape
    errors = v @ x.T / np.sqrt(dim) + noise
    loss = np.sum(errors**2) / samples
    if kept is not None:
        batch = np.zeros_like(errors)
        batch[:, kept] = errors[:, kept]
        errors, samples = batch, len(kept)
    return errors @ x * (np.sqrt(dim) / samples), loss


def fresh_gaussian_gradient(v, eigenvalues, noise_factor, batch, rng):
    """`sample_gradient` on `batch` new Gaussian samples, drawn exactly in law without drawing the inputs.

    The errors see the whitened inputs Z (batch, D) only through the C directions of sqrt(Lambda) v = R^T Q^T: S = Z Q is Gaussian,
    Delta = S R / sqrt(D) + noise, and the rest of Z is independent of Delta, so that
    Z^T Delta = Q S^T Delta + (1 - Q Q^T) xi (Delta^T Delta)^{1/2} with Gaussian xi: O((batch + D) C) numbers, not batch D.

    Parameters
    ----------
    v : ndarray, shape (C, D)
    eigenvalues : ndarray, shape (D,)
    noise_factor : ndarray, shape (C, R)
        F with F F^T the covariance of the label noise.
    batch : int
    rng : numpy.random.Generator
    """
    dim = v.shape[1]
    roots = np.sqrt(eigenvalues)
    directions, r = np.linalg.qr((roots * v).T)
    seen = rng.standard_normal((batch, directions.shape[1]))
    errors = seen @ r / np.sqrt(dim) + rng.standard_normal((batch, noise_factor.shape[1])) @ noise_factor.T
    error_root = np.linalg.qr(errors, mode="r")
    rest = rng.standard_normal((dim, len(error_root))) @ error_root
    projected = directions @ (seen.T @ errors - directions.T @ rest) + rest
    return roots * projected.T * (np.sqrt(dim) / batch), np.sum(errors**2) / batch


def march(matrices, readout, richness, target, eigenvalues, data_gradient, optimizer, rates, rank, divergence_factor, branch=None):
    """Iterator over the steps of one training run.

    Parameters
    ----------
    matrices : list of L ndarrays, shapes (N_{l+1}, N_l) with N_0 = D
        Initial hidden weights; overwritten.
    readout : ndarray, shape (C, N_L)
        Initial readout weights; overwritten.
    richness : float
        gamma.
    target : ndarray, shape (C, D)
        w*.
    eigenvalues : ndarray, shape (D,)
        Of the (diagonal) input covariance.
    data_gradient : callable(v)
        Returns u, shape (C, D), and the training loss, for the error v, shape (C, D), of the map.
    optimizer : dict
        Constants of `optimizer_step`.
    rates : ndarray, shape (steps,)
        Learning rates.
    rank : int
        As in `LowRankLayers`.
    divergence_factor : float
        The run ends where the test loss is not below this multiple of its initial value.
    branch : float, optional
        beta of a residual network, whose hidden layers have one width; None: a plain one.

    Yields
    ------
    test, train : float
        Losses before each step and after the last, steps + 1 pairs; fewer in a run that diverges, which ends with a pair of infinities.
    """
    layers = LowRankLayers(matrices, optimizer, rank)
    passes = Passes(layers, richness, target, branch)
    readout_buffer = np.zeros_like(readout)
    limit = np.inf
    for step in range(len(rates) + 1):
        g, v = passes.backward(readout)
        test = np.sum(eigenvalues * v**2) / target.shape[1]
        if step == 0:
            limit = divergence_factor * test
        if not test <= limit:
            yield np.inf, np.inf
            return
        u, train = data_gradient(v)
        yield test, train
        if step == len(rates):
            return
        factors, gradient = passes.gradients(g, u)
        layers.update(factors, rates[step])
        optimizer_step(readout, readout_buffer, gradient, rates[step], **optimizer)


class Passes:
    """Backward and forward pass through `LowRankLayers` with their present weights; other parameters as in `march`."""

    def __init__(self, layers, richness, target, branch=None):
        self.layers, self.richness, self.target = layers, richness, target
        self.scales = np.array([m.shape[1] for m in layers.matrices]) ** -0.5
        self.skips = np.zeros(len(self.scales), bool)
        if branch is not None:
            self.scales[1:], self.skips[1:] = branch * self.scales[1:], True

    def backward(self, readout):
        """g^0 ... g^L, and the error v of the map."""
        g = [readout]
        for layer in reversed(range(len(self.scales))):
            g.insert(0, _onward(self.skips[layer], g[0], self.scales[layer] * self.layers.backward(layer, g[0])))
        return g, self.target - self.target.shape[1] / (self.richness * readout.shape[1]) * g[0]

    def gradients(self, g, u):
        """Factors of the gradients of the hidden weights, for `LowRankLayers.update`, and the gradient of the readout."""
        h, factors = u, []
        for layer, scale in enumerate(self.scales):
            factors.append((g[layer + 1], self.richness * scale * h))
            h = _onward(self.skips[layer], h, scale * self.layers.forward(layer, h))
        return factors, self.richness * h


def _onward(skip, state, branch):
    """The next state: what the weights make of this one, plus this one itself where it skips them."""
    return state + branch if skip else branch
