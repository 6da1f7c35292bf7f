"""The yardstick of the speed table: the row march written plainly, one thread, one output, isotropic data, gradient descent.

The equations of docs/theory/deep_linear.md, sections 1 and 3, as loops over whole rows of the history; nothing is memoised, fused or
blocked, but the compiler may reorder sums (fastmath), so that all loops are vectorised. It lives here so that ratios are always measured
side by side in one run.
"""

import numpy as np
from numba import njit


@njit(cache=True, fastmath=True)
def _left(x, M, n, out):
    out[:n] = 0.0
    for s in range(n):
        for j in range(s + 1):
            out[j] += x[s] * M[s, j]


@njit(cache=True, fastmath=True)
def _right(y, M, n, out):
    for s in range(n):
        total = 0.0
        for j in range(s + 1):
            total += M[s, j] * y[j]
        out[s] = total


@njit(cache=True, fastmath=True)
def _symmetric(z, C, n, out):
    out[:n] = 0.0
    for s in range(n):
        total = C[s, s] * z[s]
        for j in range(s):
            total += C[s, j] * z[j]
            out[j] += z[s] * C[s, j]
        out[s] += total


@njit(cache=True, fastmath=True)
def _backward(t, x, H, Rh, G, Rg, Ca, Cb, ones_b, scale_a, scale_b, coupling, z, w, row):
    _left(x, H, t, Rg[t])
    _left(x, Rh, t, G[t])
    G[t, :t] *= coupling
    G[t, t] = 1.0
    _symmetric(Rg[t], Ca, t, z)
    z[:t] *= scale_a * coupling
    z[t] = 0.0
    _right(z, Rg, t + 1, row)
    if scale_b != 0.0:
        _symmetric(G[t], Cb, t + 1, z)
        z[: t + 1] *= scale_b
    else:
        z[: t + 1] = 0.0
    z[: t + 1] += ones_b * np.sum(G[t, : t + 1])
    _right(z, G, t + 1, w)
    row[: t + 1] += w[: t + 1]


@njit(cache=True, fastmath=True)
def _forward(t, x, H, Rh, G, Rg, Ca, Cb, ones_b, scale_a, scale_b, coupling, z, w, row):
    _left(x, Rg, t + 1, H[t])
    H[t, :t] *= coupling
    H[t, t] = 1.0
    _left(x, G, t + 1, Rh[t])
    _symmetric(H[t], Ca, t + 1, z)
    z[: t + 1] *= scale_a
    _right(z, H, t + 1, row)
    if scale_b != 0.0:
        _symmetric(Rh[t], Cb, t + 1, z)
        z[: t + 1] *= scale_b
    else:
        z[: t + 1] = 0.0
    z[: t + 1] += ones_b * np.sum(Rh[t, : t + 1])
    z[: t + 1] *= coupling
    _right(z, Rh, t + 1, w)
    row[: t + 1] += w[: t + 1]


@njit(cache=True, fastmath=True)
def march(steps, layers, eta, coupling, initial_variance, alpha, noise):
    """Test and train losses, shape (2, steps + 1), of the plain march with equal widths."""
    T = steps + 1
    H, Rh, G, Rg = np.zeros((layers, T, T)), np.zeros((layers, T, T)), np.zeros((layers, T, T)), np.zeros((layers, T, T))
    Ch, Cg = np.zeros((layers, T, T)), np.zeros((layers, T, T))
    mH, mRh, mG, mRg = np.zeros((T, T)), np.zeros((T, T)), np.zeros((T, T)), np.zeros((T, T))
    Cv, Cu, Cd, Rd = np.zeros((T, T)), np.zeros((T, T)), np.zeros((T, T)), np.zeros((T, T))
    x, z, w, row = np.zeros(T), np.zeros(T), np.zeros(T), np.zeros(T)
    losses = np.zeros((2, T))
    for t in range(T):
        for l in range(layers - 1, -1, -1):
            top = 1.0 if l == layers - 1 else 0.0
            if top == 1.0:
                x[:t] = eta
            else:
                x[:t] = Rg[l + 1, t, :t] + eta * Cg[l + 1, t, :t]
            above = Cg[l] if top == 1.0 else Cg[l + 1]
            below = Ch[l - 1] if l > 0 else Cu
            _backward(t, x, H[l], Rh[l], G[l], Rg[l], below, above, top, 1.0, 1.0 - top, coupling, z, w, row)
            Cg[l, t, : t + 1] = row[: t + 1]
        x[:t] = -(Rg[0, t, :t] + eta * Cg[0, t, :t])
        _backward(t, x, mH, mRh, mG, mRg, Cd, Cg[0], 1.0, 1.0 / alpha, initial_variance, 1.0, z, w, row)
        Cv[t, : t + 1] = row[: t + 1]
        x[:t] = mRg[t, :t] / alpha
        _left(x, Rd, t, Rd[t])
        Rd[t, t] = 1.0
        _symmetric(Rd[t], Cv, t + 1, z)
        z[: t + 1] += noise * np.sum(Rd[t, : t + 1])
        _right(z, Rd, t + 1, row)
        Cd[t, : t + 1] = row[: t + 1]
        losses[0, t], losses[1, t] = Cv[t, t], Cd[t, t]
        _forward(t, Rd[t], mH, mRh, mG, mRg, Cd, Cg[0], 1.0, 1.0 / alpha, initial_variance, 1.0, z, w, row)
        Cu[t, : t + 1] = row[: t + 1]
        for l in range(layers):
            if l == 0:
                x[: t + 1] = -initial_variance * mRh[t, : t + 1]
                x[:t] += eta * Cu[t, :t]
            else:
                x[: t + 1] = Rh[l - 1, t, : t + 1]
                x[:t] += eta * Ch[l - 1, t, :t]
            top = 1.0 if l == layers - 1 else 0.0
            above = Cg[l] if top == 1.0 else Cg[l + 1]
            below = Ch[l - 1] if l > 0 else Cu
            _forward(t, x, H[l], Rh[l], G[l], Rg[l], below, above, top, 1.0, 1.0 - top, coupling, z, w, row)
            Ch[l, t, : t + 1] = row[: t + 1]
    return losses
