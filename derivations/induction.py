"""Bounds for all times: every overlap is replaced by its largest possible value, full alignment.

`integrable` proves for all depths L at once that integrable parameterizations with the learning rates of mean-field networks stay at
initialization if L >= 3: the exponents at initialization solve the recursion of the forward and backward pass, and each term of an
update keeps to them. The inequalities are affine in the layer l and in L, so that they are decided exactly. `aligned` iterates the same
bounds for given exponents.

Source: docs/theory/deep_parameterizations.md, section 2.3; arXiv 2110.15596.
"""

from dataclasses import dataclass
from fractions import Fraction

import sympy

from . import arrangements
from .signals import CENTRED, ZERO_ORDER

LAYER, DEPTH = sympy.symbols("l L", integer=True)
_HALF = sympy.Rational(1, 2)


@dataclass(frozen=True)
class Inequality:
    """One step of the induction.

    Attributes
    ----------
    name : str
    bound, hypothesis : sympy.Expr
        The exponent of the term and the one that the induction hypothesis allows, functions of `LAYER` and `DEPTH`.
    layers : tuple of sympy.Expr
        First and last layer at which it is needed.
    condition : sympy.Boolean
        On `DEPTH`, under which the bound is at most the hypothesis at all these layers.
    """

    name: str
    bound: sympy.Expr
    hypothesis: sympy.Expr
    layers: tuple
    condition: sympy.logic.boolalg.Boolean

    @property
    def excess(self):
        return sympy.expand(self.bound - self.hypothesis)

    def violated(self, depth):
        """A point (l, L) with L >= `depth` at which the inequality fails, or None: then it is proven."""
        low, high = self.layers
        region = [(LAYER - low, ">="), (high - LAYER, ">="), (DEPTH - depth, ">="), (self.excess, ">")]
        return arrangements.witness([(arrangements.affine(e, (LAYER, DEPTH)), relation) for e, relation in region], 2)


def hypothesis():
    """Exponents of h^l and dh^l at initialization, for any l and L: solutions of the recursions of the two passes (A_l = 1, p = 1)."""
    forward, backward = sympy.Function("H"), sympy.Function("D")
    h = sympy.rsolve(forward(LAYER) - forward(LAYER - 1) + _HALF, forward(LAYER), {forward(1): 0})
    distance = sympy.rsolve(backward(LAYER) - backward(LAYER - 1) + _HALF, backward(LAYER), {backward(0): -1})
    return sympy.expand(h), sympy.expand(distance.subs(LAYER, DEPTH - LAYER))


def integrable():
    """The induction step for |phi(h)| <= C |h|, |phi'| <= C, A = (0, 1, ..., 1) and E = (-1, 0, ..., 0, 1).

    Returns
    -------
    tuple of Inequality
        All of them hold if and only if the hypothesis propagates from step to step; then the logits are at most of the order of h^L,
        that of W_0 x fully aligned.
    """
    h, dh = hypothesis()
    below, under = h.subs(LAYER, LAYER - 1), dh.subs(LAYER, LAYER - 1)
    top_h, hidden = h.subs(LAYER, DEPTH), (sympy.Integer(2), DEPTH)
    top = (DEPTH, DEPTH)
    return (
        _inequality("W_0 x", below - _HALF, h, hidden),
        _inequality("update of W^1 times the input", 1 + dh, h, (sympy.Integer(1), sympy.Integer(1))),
        _inequality("update of W^l times x", dh + 1 + 2 * below, h, hidden),
        _inequality("W_0^T dh", dh - _HALF, under, hidden),
        _inequality("update of W^l, transposed, times dh", below + 1 + 2 * dh, under, hidden),
        _inequality("update of the readout weights", top_h - 1, dh, top),
        _inequality("update of the readout weights in the logits", 2 * top_h, top_h, top),
    )


def _inequality(name, bound, allowed, layers):
    excess = sympy.expand(bound - allowed)
    ends = [sympy.expand(excess.subs(LAYER, end)) for end in layers]
    condition = sympy.And(*(sympy.solve(end <= 0, DEPTH) if end.has(DEPTH) else sympy.sympify(end <= 0) for end in ends))
    return Inequality(name, sympy.expand(bound), sympy.expand(allowed), layers, condition)


@dataclass(frozen=True)
class Bounds:
    """Bounds of exponents under full alignment.

    Attributes
    ----------
    h, dh : tuple of Fraction
        Of the last step, layer by layer.
    change_of_f : Fraction
        Of the logits without their initial value.
    for_all_times : bool
        Whether a further step would leave the bounds as they are.
    """

    h: tuple
    dh: tuple
    change_of_f: Fraction
    for_all_times: bool


def aligned(network, activation, steps):
    """`Bounds` after a number of steps for the network `deep.Scaling`."""
    past = []
    for t in range(steps + 1):
        x, h = [], []
        for layer in range(1, network.depth + 1):
            h.append(max(_forward(network, layer, x, past)))
            x.append(_activated(activation, h[-1]))
        dh = [ZERO_ORDER] * network.depth
        for layer in range(network.depth, 0, -1):
            dx = max(_backward(network, layer, dh, past))
            dh[layer - 1] = dx + ((activation.degree - 1) * h[layer - 1] if activation.degree is not None else 0)
        f = max(1 + x[-1] - network.size[-1], *(1 + x[-1] + p[1][-1] - network.rates(s)[-1] for s, p in enumerate(past)), ZERO_ORDER)
        past.append((h, x, dh, f))
        if t > 1 and past[-1] == past[-2]:
            return Bounds(tuple(h), tuple(dh), f, True)
    return Bounds(tuple(h), tuple(dh), f, False)


def _activated(activation, h):
    if activation.degree is not None:
        return activation.degree * h
    return activation.growth * h if h > 0 else Fraction(0) if activation.offset else h


def _forward(network, layer, x, past):
    size, mean, bias = (getattr(network, name)[layer - 1] for name in ("size", "mean", "bias"))
    if bias is not None:
        yield -bias
        yield from (dh[layer - 1] - network.bias_rates(s)[layer - 1] for s, (_, _, dh, _) in enumerate(past))
    if layer == 1:
        yield -size
        yield from (dh[0] - network.rates(s)[0] for s, (_, _, dh, _) in enumerate(past))
        return
    yield CENTRED - size + x[layer - 2]
    if mean is not None:
        yield 1 - mean + x[layer - 2]
    yield from (dh[layer - 1] + 1 + y[layer - 2] + x[layer - 2] - network.rates(s)[layer - 1] for s, (_, y, dh, _) in enumerate(past))


def _backward(network, layer, dh, past):
    size, mean = network.size[layer], network.mean[layer]
    updates = [y[layer - 1] - network.rates(s)[layer] for s, (_, y, _, _) in enumerate(past)]
    if layer == network.depth:
        yield -size
        if mean is not None:
            yield -mean
        yield from updates
        return
    yield CENTRED - size + dh[layer]
    if mean is not None:
        yield 1 - mean + dh[layer]
    yield from (update + 1 + old[layer] + dh[layer] for update, (_, _, old, _) in zip(updates, past))
