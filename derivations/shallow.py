"""Limit models of networks with one hidden layer, derived from its forward pass and its gradient step by power counting in the width.

    f(x) = sigma sum_r a_r phi(w_r x),
    da_r = -eta_a sigma mean_i c_i phi(w_r x_i),   dw_r = -eta_w sigma mean_i c_i a_r phi'(w_r x_i) x_i,

with a, w of order one, phi homogeneous of degree one, sigma = sigma* R^q_sigma and eta_l = eta*_l R^q_eta_l. What is put in is
`Network`, the lines above in orders of magnitude; everything else comes out of `power_counting.derive`: the band, the lines on which
a property holds, the cells between them, and with the help of `equations` the limit of each. Names of classes: see `limit_classes`.

Source: docs/theory/shallow_limits.md, sections 1-4b and 7; docs/theory/deep_classes.md, section 3; arXiv 2006.06574.
"""

from dataclasses import dataclass

import sympy

from . import equations, power_counting, scaling
from .limit_classes import EVOLVE, INITIAL, KERNELS, PERSISTS, PROPERTIES, Derivation, LimitClass, Reason, argument
from .losses import LOSSES
from .scaling import Order, power

__all__ = ["EVOLVE", "INITIAL", "KERNELS", "PERSISTS", "PROPERTIES", "Derivation", "LimitClass", "Network", "derive"]

Q_SIGMA, Q_ETA, Q_ETA_A, Q_ETA_W = sympy.symbols("q_sigma q_eta q_eta_a q_eta_w")

#: Exponents of the reduced learning rates of a and w, subscripts of their constants.
RATES = {
    "common": ({"a": Q_ETA, "w": Q_ETA}, {"a": "", "w": ""}),
    "layer-wise": ({"a": Q_ETA_A, "w": Q_ETA_W}, {"a": "_a", "w": "_w"}),
}

A, W = Order(odd=frozenset({sympy.Integer(0)})), Order(even=frozenset({sympy.Integer(0)}))


@dataclass(frozen=True)
class Network:
    """The model in orders of magnitude: increments da, dw of one neuron's weights give logits and tangent kernels.

    Attributes
    ----------
    scale, rate_a, rate_w : sympy.Expr
        Exponents of sigma and of the reduced learning rates.
    gain : sympy.Expr
        Exponent of the loss derivative.
    """

    scale: sympy.Expr
    rate_a: sympy.Expr
    rate_w: sympy.Expr
    gain: sympy.Expr = sympy.Integer(0)
    layers = ("a", "w")

    def step(self, da, dw):
        """Increments after one more gradient step; phi(w x) is of the order of w, phi' of order one."""
        driven = power(self.scale + self.gain)
        return da + driven * power(self.rate_a) * (W + dw), dw + driven * power(self.rate_w) * (A + da)

    def logits(self, da, dw):
        """Exponents of sigma sum_r a phi(w x)."""
        return (power(self.scale) * (A + da) * (W + dw)).summed()

    def kernels(self, da, dw):
        """Exponents of eta_a sigma^2 sum phi phi and eta_w sigma^2 sum a^2 phi' phi'."""
        squares = {"a": (self.rate_a, (W + dw) * (W + dw)), "w": (self.rate_w, (A + da) * (A + da))}
        return {layer: (power(2 * self.scale + rate) * square).summed() for layer, (rate, square) in squares.items()}

    def kernel_changes(self, da, dw):
        """Exponents of the change of each kernel, for smooth phi; as phi' is bounded, above that of the kernel means equal to it."""
        squares = {"a": (self.rate_a, W * dw + dw * dw), "w": (self.rate_w, A * da + da * da + A * A * (dw + dw * dw))}
        return {layer: (power(2 * self.scale + rate) * change).summed() for layer, (rate, change) in squares.items()}

    def mask_flips(self, _, dw):
        """Exponents of what a kink of phi adds to the change of the kernel of w: a fraction dw of phi' flips, with random sign."""
        return frozenset(sympy.expand(2 * self.scale + self.rate_w + (scaling.MEAN + e) * scaling.CENTRED) for e in dw.exponents)


def derive(loss="logistic", rates="common"):
    """All limit models for a loss and a choice of learning rates.

    Parameters
    ----------
    loss : {"logistic", "hinge", "mse", "softmax"}
    rates : {"common", "layer-wise"}
        One exponent of the reduced learning rate, or one for each layer.

    Returns
    -------
    Derivation
    """
    exponents, constants = RATES[rates]

    def describe(branch, loss, signature, found):
        return {
            "regime": "mean field" if signature.evolves else "kernel from F0" if signature.persists else "kernel",
            "equations": _equations(loss, constants, signature),
            "reasons": _reasons(branch, loss, signature, found),
        }

    symbols = (Q_SIGMA, *dict.fromkeys(exponents.values()))
    return power_counting.derive(Network(Q_SIGMA, exponents["a"], exponents["w"]), LOSSES[loss](), symbols, describe)


def _equations(loss, constants, signature):
    survive = (
        equations.measure_regime(constants, dict(signature.layers))
        if signature.evolves
        else equations.kernel_regime(constants, signature.acting, signature.persists)
    )
    return equations.initial_function() | equations.loss_derivatives(loss, signature.initial, signature.trained) | survive


def _reasons(branch, loss, signature, exponents):
    change = exponents["relative kernel change"]
    changed = Reason(
        f"the relative change of the kernel has exponent {f'min(0, {change}) = 0' if signature.evolves else f'{change} < 0'}",
        "the law of (a, w) evolves and with it the kernel" if signature.evolves else "the kernel is stationary",
    )
    return argument(
        branch,
        loss,
        signature,
        exponents,
        circuit="of the gradient step does not grow with the number of steps",
        initial="a has mean zero, so sigma sum_r a phi(w x) is a centred sum",
        kernel="eta sigma^2 sum_r phi phi and eta sigma^2 sum_r a^2 phi' phi' have a mean",
        acting=" and ".join(signature.acting),
        changes=(changed,),
    )
