"""Slow readable twin of `particles`: neurons of docs/theory/shallow_limits.md, equations 1 and 5, with explicit weights in full arrays."""

import numpy as np


def initial(rng, neurons, dim, antithetic=False):
    """a, shape (N,), and w, shape (N, D), in the draws of `particles.initial`."""
    draws = neurons // 2 if antithetic else neurons
    a, w = rng.standard_normal(draws), rng.standard_normal((draws, dim))
    if antithetic:
        a, w = np.stack([a, -a], axis=1).ravel(), np.repeat(w, 2, axis=0)
    return a, w


def evaluated(activation, h):
    """phi(h) and phi'(h)."""
    phi, dphi = np.empty_like(h), np.empty_like(h)
    activation.evaluate(h, phi, dphi)
    return phi, dphi


def logits(a, w, x, activation):
    """sum_r a_r phi(w_r.x_j), shape (points,)."""
    return a @ evaluated(activation, w @ x.T)[0]


def step(a, w, x, activation, rate_a, rate_w, c):
    """The map T_c of equation 5 on training inputs x, shape (P, D), with c of shape (P,); returns the new a and w."""
    phi, dphi = evaluated(activation, w @ x.T)
    return a - rate_a * phi @ c, w - rate_w * a[:, None] * ((c * dphi) @ x)


def tangent_kernels(a, w, x, train, activation):
    """As `particles.Particles.tangent_kernels`."""
    phi, dphi = evaluated(activation, w @ x.T)
    slopes = a[:, None] * dphi
    return phi.T @ phi[:, :train], slopes.T @ slopes[:, :train] * (x @ x[:train].T)
