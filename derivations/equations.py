"""The equations that survive at infinite width, as sympy expressions, put together from which terms of the model survive.

Symbols: F0 initial function over its own size, f(k, x) logits over theirs, c(i, k) loss derivative at sample i, w*x the inner product,
E the mean over the law of the neurons (a(0), w(0)), phi and dphi activation and its derivative; kappa, lambda, beta, gamma the constants
eta sigma^2 d, eta sigma, sigma d, sigma d^(1/2) at the reference width d.

Source: docs/theory/shallow_limits.md, sections 4, 4b and 7; arXiv 2006.06574.
"""

import sympy
from sympy import Eq, Function, IndexedBase, Integer, Sum, Symbol

from .losses import LABEL, LOGIT

k, i, n = (Symbol(name, integer=True) for name in "kin")
x, x2 = sympy.symbols("x x'")
X, Y = IndexedBase("x"), IndexedBase("y")
f, F0, c, a, w, phi, dphi, E, cov, K = map(Function, ("f", "F0", "c", "a", "w", "phi", "dphi", "E", "Cov", "K"))


def loss_derivatives(loss, first, later):
    """c(i, 0) and c(i, k) by the signs of the exponents of the logits at initialization and during training."""
    return {
        "first loss derivative": Eq(c(i, 0), loss.rule(first).subs({LABEL: Y[i], LOGIT: F0(X[i])}, simultaneous=True)),
        "loss derivative": Eq(c(i, k), loss.rule(later).subs({LABEL: Y[i], LOGIT: f(k, X[i])}, simultaneous=True)),
    }


def initial_function():
    """Covariance of the Gaussian process F0."""
    return {"initial function": Eq(cov(F0(x), F0(x2)), Symbol("gamma") ** 2 * E(a(0) ** 2) * E(phi(w(0) * x) * phi(w(0) * x2)))}


def kernel_regime(constants, layers, persists):
    """Gradient descent with the stationary tangent kernel of `layers`, started at F0 or at zero."""
    terms = {"a": E(phi(w(0) * x) * phi(w(0) * x2)), "w": E(a(0) ** 2) * E(dphi(w(0) * x) * dphi(w(0) * x2)) * x * x2}
    return {
        "kernel": Eq(K(x, x2), sympy.factor(sum(Symbol(f"kappa{constants[layer]}") * terms[layer] for layer in layers))),
        "start": Eq(f(0, x), F0(x) if persists else Integer(0)),
        "step": Eq(f(k + 1, x), f(k, x) - mean(K(x, X[i]) * c(i, k))),
    }


def measure_regime(constants, moves):
    """Dynamics of the law of (a, w) under the field of its own mean.

    Parameters
    ----------
    constants : dict of {str: str}
        Subscript of the constants of each layer.
    moves : dict of {str: {-1, 0, 1}}
        Sign of the exponent of the increments of each layer over their initial values: it stays, it moves, its start is forgotten.
        Where a start is forgotten, step 0 has an equation of its own: the forgotten layer only moves, and with a weight in which
        the initial one is no longer seen.
    """
    fields = {"a": (a, lambda k: phi(w(k) * X[i])), "w": (w, lambda k: a(k) * dphi(w(k) * X[i]) * X[i])}
    equations = {"start": Eq(f(0, x), 0)}
    forgotten = [layer for layer, sign in moves.items() if sign > 0]
    for layer, sign in moves.items():
        weight, field = fields[layer]
        change = -Symbol(f"lambda{constants[layer]}") * mean(c(i, k) * field(k)) if sign >= 0 else Integer(0)
        if forgotten:
            first = change.subs(k, 0) if layer in forgotten else weight(0)
            equations[f"first step of {layer}"] = Eq(weight(1), first)
        equations[f"step of {layer}"] = Eq(weight(k + 1), weight(k) + change)
    return equations | {"logits": Eq(f(k, x), Symbol("beta") * E(a(k) * phi(w(k) * x)))}


def mean(summand):
    """Mean over the samples."""
    return Sum(summand, (i, 1, n)) / n
