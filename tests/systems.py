"""Exactly solvable deep linear networks, with their formulas written out. Nothing here uses responses, memory kernels or `solvers`.

Every function takes the public objects of a problem and returns losses before every step, shape (steps + 1,). The last one,
`infinite_network`, has no restriction but the cost: it trains the infinitely large network itself.
"""

import math

import numpy as np

import dmft


def optimizer_step(weights, buffer, gradient, rate, training):
    """Weights and buffer after one step, in PyTorch's order of operations (docstring of `dmft.training.Optimizer`)."""
    if training.decoupled:
        weights = weights * (1 - rate * training.weight_decay)
    else:
        gradient = gradient - training.weight_decay * weights
    buffer = training.momentum * buffer + gradient
    return weights + rate * (gradient + training.momentum * buffer if training.nesterov else buffer), buffer


def marchenko_pastur(sample_ratio, nodes=400):
    """Nodes s and weights of the spectrum of X^T X / P for D = P / alpha, X Gaussian.

    With q = 1/alpha and s = 1 + q + 2 sqrt(q) cos(theta) the density sqrt((s_+ - s)(s - s_-)) / (2 pi q s) ds becomes
    (2/pi) sin^2(theta) / s dtheta on (0, pi): the trapezoidal rule converges exponentially. What the nodes lack of the total weight one
    is at s = 0: the D - P directions without samples for alpha < 1, the end of the integral for alpha = 1, nothing for alpha > 1.
    """
    if math.isinf(sample_ratio):
        return np.ones(1), np.ones(1)
    q = 1 / sample_ratio
    theta = np.pi * np.arange(1, nodes + 1) / (nodes + 1)
    s = 1 + q + 2 * np.sqrt(q) * np.cos(theta)
    weights = 2 / (nodes + 1) * np.sin(theta) ** 2 / s
    return np.append(s, 0.0), np.append(weights, 1 - weights.sum())


def lazy(network, data, training):
    """Lazy limit on isotropic data, any depth and optimizer: linear regression in the features of the initial network.

    The weights are d(t) W(0) + delta(t) with delta infinitesimal, so f is linear in the deltas of all L + 1 weight matrices, which
    contribute equally. Along an eigenvector of X^T X / P with eigenvalue s the error of the map is
        v = w - d^{L+1} f_0 - (L+1) d^L delta,        gradient of delta:  d^L (s v + sqrt(s/alpha) xi)
    with w, f_0, xi independent, of variances 1, 1/(gamma^2 nu), sigma^2. Averages over the Marchenko-Pastur law of s are
        test = <v^2>,   train = <s v^2 + 2 sqrt(s/alpha) v xi> + sigma^2.
    Plain gradient descent: v = (1 - (L+1) eta s)^t (w - f_0) + noise.

    Of a residual network, without decay, f_0 has the variance (1 + beta^2)^Lb / (gamma^2 nu), and the tangent kernel is, in place of the
    L + 1 equal contributions, 2 (1 + beta^2)^Lb of first and last weights and beta^2 (1 + beta^2)^(Lb-1) of every branch.
    """
    s, weights = marchenko_pastur(data.sample_ratio)
    amplitude = np.sqrt(s / data.sample_ratio)
    layers, d, d_buffer = network.depth + 1, 1.0, 0.0
    kernel, growth = layers, 1.0
    if network.branch is not None:
        assert training.weight_decay == 0.0
        square = network.branch**2
        growth = (1 + square) ** network.depth
        kernel = growth * (2 + network.depth * square / (1 + square))
    scale = np.sqrt([1.0, growth * network.initial_variance, data.label_noise**2])
    w, f, xi = (scale * np.eye(3))[:, :, None]
    delta, buffer = np.zeros((2, 3, len(s)))
    losses = []
    for t in range(training.steps + 1):
        v = w - d**layers * f - kernel * d ** (layers - 1) * delta
        losses.append((np.sum(v**2 @ weights), np.sum((s * v**2 + 2 * amplitude * v * xi) @ weights) + data.label_noise**2))
        if t < training.steps:
            rate = training.learning_rates[t]
            gradient = d ** (layers - 1) * (s * v + amplitude * xi)
            delta, buffer = optimizer_step(delta, buffer, gradient, rate, training)
            d, d_buffer = optimizer_step(d, d_buffer, 0.0, rate, training)
    return np.transpose(losses)


def lazy_online(network, data, training):
    """Lazy limit, one-pass SGD on isotropic data with batches of alpha_B D fresh samples, plain steps.

    v <- v - eta' (S v + noise) with eta' = (L+1) eta and S = X^T X / B of the fresh batch. For Gaussian X independent of v,
    E v.S v = |v|^2, E |S v|^2 = (1 + 1/alpha_B) |v|^2, and the noise adds sigma^2 / alpha_B; the loss concentrates on
        l(t+1) = [(1 - eta')^2 + eta'^2 / alpha_B] l(t) + eta'^2 sigma^2 / alpha_B,   l(0) = 1 + 1/(gamma^2 nu).
    """
    test = [1 + network.initial_variance]
    for rate in (network.depth + 1) * training.learning_rates:
        noise = rate**2 / training.batch_ratio
        test.append(((1 - rate) ** 2 + noise) * test[-1] + noise * data.label_noise**2)
    return np.array(test), np.array(test) + data.label_noise**2


def shallow_population(network, data, training):
    """One hidden layer, infinite width at finite richness, gradient descent on the population of isotropic data.

    Only the direction of w* moves. With h = W^0 w*/sqrt(D) and w the readout, both of unit variance and independent at t = 0,
        b = <w h> / gamma,  v = 1 - b,  h <- h + eta gamma v w,  w <- w + eta gamma v h,
    which closes on b and S = <h^2> + <w^2>:
        b <- b (1 + eta^2 gamma^2 v^2) + eta v S,   S <- S (1 + eta^2 gamma^2 v^2) + 4 eta gamma^2 v b.
    """
    b, S, test = 0.0, 2.0, [1.0]
    for rate in training.learning_rates:
        v, growth = 1 - b, 1 + (rate * network.richness * (1 - b)) ** 2
        b, S = b * growth + rate * v * S, S * growth + 4 * rate * network.richness**2 * v * b
        test.append((1 - b) ** 2)
    return np.array(test), np.array(test) + data.label_noise**2


class Space:
    """Coordinates of an infinitely large space in an orthonormal basis that grows: one vector per input mode and draw."""

    def __init__(self, capacity, fractions=(1.0,)):
        self.capacity, self.used, self.amplitudes = capacity, 0, np.sqrt(fractions)

    def fresh(self, count=1):
        """Random vectors of unit mean square: orthogonal to everything drawn before, of sharp length in every mode."""
        vectors = np.zeros((count, self.capacity))
        for vector in vectors:
            vector[self.used : self.used + len(self.amplitudes)] = self.amplitudes
            self.used += len(self.amplitudes)
        return vectors


class GaussianMatrix:
    """Gaussian matrix from `domain` to `image`, drawn as far as it has been used.

    On a new unit vector r, orthogonal to those it met before, its value is what transposed products have fixed already, plus a fresh
    vector; the length of that is 1, and `back` for the transpose (square root of dim domain / dim image).
    """

    def __init__(self, image, domain, back):
        self.image, self.domain, self.back = image, domain, back
        self.drawn = np.zeros((image.capacity, domain.capacity))
        self.met, self.met_back = np.zeros((0, domain.capacity)), np.zeros((0, image.capacity))

    def forward(self, vectors):
        for vector in vectors:
            new = _beyond(vector, self.met)
            self.met = np.vstack([self.met, new])
            for r in new:
                self.drawn += np.outer(self.image.fresh(), r)
        return vectors @ self.drawn.T

    def backward(self, vectors):
        for vector in vectors:
            new = _beyond(vector, self.met_back)
            self.met_back = np.vstack([self.met_back, new])
            for r in new:
                self.drawn += self.back * np.outer(r, self.domain.fresh())
        return vectors @ self.drawn


def _beyond(vector, basis):
    """The normalized part of `vector` outside the span of `basis`, shape (1, n), or (0, n) if there is none."""
    rest = vector - vector @ basis.T @ basis
    rest -= rest @ basis.T @ basis
    length = np.linalg.norm(rest)
    return rest[None] / length if length > 1e-13 * np.linalg.norm(vector) else np.zeros((0, len(vector)))


def infinite_network(network, data, training, kick=None):
    """Train the network of infinite size itself: widths, samples and D infinite at fixed ratios, richness > 0, everything else general.

    A Gaussian matrix that meets a new vector answers with a fresh random one, orthogonal to all others and of sharp length. So T steps
    happen in spaces spanned by O(T) vectors, and the matrices there are deterministic. All vectors are divided by the square root of
    the dimension of their space, hidden matrices W^l by sqrt(N_{l+1}), X by sqrt(P); then, with r_l = nu_{l+1} / nu_l,
        g^L = w,  g^l = r_l W^{lT} g^{l+1},  v = w* - nu_1/(gamma nu_L) W^{0T} g^1,  Delta = X v + noise,  u = X^T Delta,
        h^1 = W^0 u,  h^{l+1} = W^l h^l,     G_{W^l} = gamma sum_c g^{l+1}_c h^{lT}_c  (h^0 = u),    G_w = gamma h^L.
    The states of a residual network share one space; its W^l, l >= 1, stand with beta, and h^l and g^{l+1} are added to what they give.
    A random subset of a fraction p of the samples replaces Delta by Delta / p on it: Delta plus a fresh vector of squared length
    (1/p - 1) |Delta|^2.

    Parameters
    ----------
    kick : (name, layer, time, output, size), optional
        Add `size` times a fresh vector to the field of that name and layer at this time, and let training go on from there.

    Returns
    -------
    test, train : ndarray (T,)
    fields : dict
        Vectors "h", "g" with shape (T, L, C, n); "v" (times the square root of the spectrum), "u", "delta" with shape (T, C, n).
    direction : ndarray (n,)
        Of the kick, scaled as the field that answers.
    """
    spectrum, rows, C, L = data.spectrum(network.outputs), training.steps + 1, network.outputs, network.hidden_states
    gamma, ratios = network.richness, network.width_ratios
    online, subset = isinstance(training, dmft.OnlineSGD), getattr(training, "batch_fraction", 1.0)
    samples_per_dim = training.batch_ratio if online else data.sample_ratio
    steps = [1.0 if math.isinf(ratios[0]) else after / before for before, after in zip(ratios, ratios[1:])]
    total_step = math.prod(steps)

    residual = network.branch is not None
    scales = [1.0] + (L - 1) * [network.branch if residual else 1.0]

    capacity = 3 * (rows + 1) * C * len(spectrum.fractions) * (L if residual else 1)
    inputs, samples = Space(capacity, spectrum.fractions), Space(capacity)
    hidden = L * [Space(capacity)] if residual else [Space(capacity) for _ in range(L)]
    root = np.sqrt(np.resize(spectrum.eigenvalues, capacity))
    target = np.zeros((C, capacity))
    target_roots = np.concatenate([_root(power) for power in spectrum.target], axis=1).reshape(C, -1, C)
    for c, direction in enumerate(inputs.fresh(C)):
        used = np.flatnonzero(direction)
        target[:, used] = target_roots[:, :, c] * direction[used]

    def new_samples():
        return GaussianMatrix(samples, inputs, samples_per_dim**-0.5), _root(spectrum.noise) @ samples.fresh(C)

    spaces = {"v": inputs, "u": inputs, "delta": samples} | {(name, l + 1): hidden[l] for name in "hg" for l in range(L)}
    direction = np.zeros(capacity)
    if kick is not None:
        field, depth, _, output, size = kick
        direction = spaces[(field, depth) if depth else field].fresh()[0]

    def kicked(vectors, name, layer=None):
        if kick is None or (name, layer, t) != kick[:3]:
            return vectors
        return vectors + size * np.outer(np.arange(C) == output, direction)

    w, w_buffer = hidden[-1].fresh(C), np.zeros((C, capacity))
    initial = [GaussianMatrix(hidden[0], inputs, ratios[0] ** -0.5)]
    initial += [GaussianMatrix(hidden[l + 1], hidden[l], steps[l] ** -0.5) for l in range(L - 1)]
    learned, buffers = np.zeros((2, L, capacity, capacity))
    d, d_buffer = 1.0, 0.0
    X, noise = new_samples()
    fields = {name: [] for name in ("h", "g", "v", "u", "delta")}
    losses = []
    for t in range(rows):
        g = [kicked(w, "g", L)]
        for l in reversed(range(L)):
            factor = steps[l - 1] if l else 1 / (gamma * total_step)
            below = factor * scales[l] * (d * initial[l].backward(g[0]) + g[0] @ learned[l]) + (g[0] if residual and l else 0.0)
            g.insert(0, kicked(below, "g", l) if l else below)
        v = kicked(target - g[0], "v")
        if math.isinf(samples_per_dim):
            u = root**2 * v
            delta, train = np.hstack([root * v, noise]), np.sum((root * v) ** 2) + np.trace(spectrum.noise)
        else:
            X, noise = new_samples() if online else (X, noise)
            delta = kicked(X.forward(root * v) + noise, "delta")
            train = np.sum(delta**2)
            if subset < 1:
                delta = delta + _root((1 / subset - 1) * delta @ delta.T) @ samples.fresh(C)
            u = root * X.backward(delta)
        losses.append((np.sum((root * v) ** 2), train))
        h = [kicked(u, "u")]
        for l in range(L):
            above = scales[l] * (d * initial[l].forward(h[l]) + h[l] @ learned[l].T) + (h[l] if residual and l else 0.0)
            h.append(kicked(above, "h", l + 1))
        for name, value in {"h": h[1:], "g": g[1:], "v": root * v, "u": h[0], "delta": delta}.items():
            fields[name].append(value)
        if t < training.steps:
            rate = training.learning_rates[t]
            for l in range(L):
                gradient = gamma * scales[l] * g[l + 1].T @ h[l]
                learned[l], buffers[l] = optimizer_step(learned[l], buffers[l], gradient, rate, training)
            w, w_buffer = optimizer_step(w, w_buffer, gamma * h[L], rate, training)
            d, d_buffer = optimizer_step(d, d_buffer, 0.0, rate, training)
    if kick is not None and kick[0] == "u":
        direction = root * direction
    return *np.transpose(losses), {name: np.array(values) for name, values in fields.items()}, direction


def correlations(fields):
    """Two-time correlations: "h", "g" with shape (L, T, C, T, C), the others (T, C, T, C)."""
    return {name: np.einsum("t...ci,s...di->...tcsd", values, values) for name, values in fields.items()}


#: Where a kick is felt, as the responses of the theory define it: h answers to sources of g, u to sources of v, and conversely.
ANSWERS = {"h": "g", "g": "h", "v": "u", "u": "v", "delta": "delta"}


def response(network, data, training, name, layer=None, size=1e-5):
    """R(t, s) = d field(t) / d source(s), shape (T, C, T, C), by kicks of both signs: errors are of the order of size squared."""
    rows, C = training.steps + 1, network.outputs
    found = np.zeros((rows, C, rows, C))
    for s in range(rows):
        for c in range(C):
            for sign in (1, -1):
                *_, fields, direction = infinite_network(network, data, training, (ANSWERS[name], layer, s, c, sign * size))
                values = fields[name] if layer is None else fields[name][:, layer - 1]
                found[:, :, s, c] += sign * values @ direction / (2 * size)
    return found


def _root(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
