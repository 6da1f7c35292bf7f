"""Finite networks of any abc-parameterization, trained for a few steps, and fits of the powers of the width.

Written from the definition alone: dense Gaussian weights, forward pass, chain rule, W <- W - eta m^(-c) gradient, with updates kept as
their rank-one factors. Many parameterizations share the Gaussian draws, one column each. The derivative of the loss is a constant.
"""

import math

import numpy as np

CHI, MEAN = -0.4, 0.7
ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float), math.sqrt(2)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1.3),
}


def _powers(m, exponents):
    return np.array([0.0 if e is None else float(m) ** -float(e) for e in exponents])


def train(cases, depth, m, rng, steps=2):
    """Sizes of all signals of one set of draws.

    Parameters
    ----------
    cases : list of (dmft.ABC, str, float)
        Parameterization, activation, learning rate.
    depth, m : int
    rng : numpy.random.Generator
    steps : int

    Returns
    -------
    dict of {(str, int, int): array}
        Signal, layer, step -> one number per case, names as in derivations.deep.
    """
    pars, matrices = [p for p, _, _ in cases], range(depth + 1)
    size = [_powers(m, [p.a[k] + p.b[k] for p in pars]) for k in matrices]
    size_later = [_powers(m, [p.a[k] + p.b_later[k] for p in pars]) for k in matrices]
    mean = [_powers(m, [None if p.mean_b is None or p.mean_b[k] is None else p.a[k] + p.mean_b[k] for p in pars]) for k in matrices]
    bias = [_powers(m, [None if p.bias_b is None else p.bias_b[k] for p in pars]) for k in matrices]

    eta = np.array([e for _, _, e in cases])

    def rate(t, k):
        return eta * _powers(m, [2 * p.a[k] + (p.c_later if t else p.c)[k] for p in pars])

    def bias_rate(t, k):
        return eta * _powers(m, [None if p.bias_b is None else (p.bias_c_later if t else p.bias_c)[k] for p in pars])

    sigma = np.array([ACTIVATIONS[a][2] for _, a, _ in cases])
    groups = [(ACTIVATIONS[a], [i for i, (_, b, _) in enumerate(cases) if a == b]) for a in dict.fromkeys(a for _, a, _ in cases)]

    def apply(which, z):
        out = np.empty_like(z)
        for functions, columns in groups:
            out[:, columns] = functions[which](z[:, columns])
        return out

    gaussians = [rng.standard_normal((m, 1)), *(rng.standard_normal((m, m)) for _ in range(depth - 1)), rng.standard_normal((1, m))]
    noise = [rng.standard_normal((m, 1)) for _ in range(depth)] + [rng.standard_normal((1, 1))]
    scales = [sigma] * depth + [np.ones(len(cases))]

    def initial(t, k, x, transposed=False):
        product = (gaussians[k].T if transposed else gaussians[k]) @ x
        return scales[k] * (size_later if t else size)[k] * product + MEAN * mean[k] * x.sum(axis=0)

    found, past = {}, []

    def record(signal, layer, t, value):
        found[signal, layer, t] = np.sqrt((value**2).mean(axis=0))

    for t in range(steps + 1):
        x, h, dh = [np.ones((1, len(cases)))], [], [None] * (depth + 1)
        for k in range(depth + 1):
            own = np.zeros((m if k < depth else 1, len(cases)))
            for s, (xs, dhs) in enumerate(past):
                own -= dhs[k] * (rate(s, k) * (xs[k] * x[k]).sum(axis=0) + bias_rate(s, k))
            h.append(initial(t, k, x[k]) + scales[k] * bias[k] * noise[k] + own)
            signal = "h" if k < depth else "f"
            record(signal, k + 1, t, h[k])
            if t:
                record(f"update of {signal}", k + 1, t, own)
                record(f"change of {signal}", k + 1, t, h[k] - start[k])
            if k < depth:
                x.append(apply(0, h[k]))
        if t == 0:
            start = list(h)
        dh[depth] = np.full((1, len(cases)), CHI)
        for k in range(depth, 0, -1):
            dx = initial(t, k, dh[k], transposed=True)
            for s, (xs, dhs) in enumerate(past):
                dx -= xs[k] * (rate(s, k) * (dhs[k] * dh[k]).sum(axis=0))
            dh[k - 1] = dx * apply(1, h[k - 1])
            record("dh", k, t, dh[k - 1])
        past.append((x, dh))
    return found


def fitted(cases, depth, widths, seeds, rng=0):
    """Slopes of log size against log width, with standard errors over the seeds: {(signal, layer, step): (slopes, errors)}."""
    rng = np.random.default_rng(rng)
    logs = {}
    for m in widths:
        for _ in range(seeds):
            for key, value in train(cases, depth, m, rng).items():
                logs.setdefault(key, {}).setdefault(m, []).append(np.log(np.maximum(value, 1e-300)))
    position = np.log(widths) - np.log(widths).mean()
    weights = position / (position**2).sum()
    result = {}
    for key, by_width in logs.items():
        means = np.array([np.mean(by_width[m], axis=0) for m in widths])
        errors = np.array([np.std(by_width[m], axis=0, ddof=1) / math.sqrt(seeds) for m in widths])
        result[key] = (weights @ means, np.sqrt(weights**2 @ errors**2))
    return result
