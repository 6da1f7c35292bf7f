"""Activation functions with their derivatives, evaluated into given arrays.

Kinks (ReLU, leaky ReLU) take the derivative from the left at zero, as PyTorch does, and have no second derivative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

_ROOT_2, _ROOT_PI = math.sqrt(2.0), math.sqrt(math.pi)


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes
    ----------
    name : str
    evaluate : callable(h, phi, dphi=None, d2phi=None)
        Fills the arrays phi, dphi, d2phi, as far as they are given, with phi(h), phi'(h), phi''(h). All have the shape of h and do
        not overlap it.
    smooth : bool
        Whether there is a second derivative.
    negative_slope : float or None
        The slope at h < 0 of phi that is homogeneous of degree one with slope 1 at h > 0; None if it is not of this kind.
    """

    name: str
    evaluate: Callable
    smooth: bool = True
    negative_slope: float | None = None


def _tanh(h, phi, dphi=None, d2phi=None):
    np.tanh(h, out=phi)
    if dphi is not None:
        np.multiply(phi, phi, out=dphi)
        np.subtract(1.0, dphi, out=dphi)
    if d2phi is not None:
        np.multiply(phi, phi, out=d2phi)
        d2phi -= 1.0
        d2phi *= phi
        d2phi *= 2.0


def _erf(h, phi, dphi=None, d2phi=None):
    erf(h, out=phi)
    if dphi is not None:
        _bell(h, dphi, 2.0 / _ROOT_PI, 1.0)
    if d2phi is not None:
        _bell(h, d2phi, -4.0 / _ROOT_PI, 1.0)
        d2phi *= h


def _gelu(h, phi, dphi=None, d2phi=None):
    np.multiply(h, 1.0 / _ROOT_2, out=phi)
    erf(phi, out=phi)
    phi += 1.0
    phi *= 0.5
    if dphi is not None:
        _bell(h, dphi, 1.0 / (_ROOT_2 * _ROOT_PI), 0.5)
        dphi *= h
        dphi += phi
    if d2phi is not None:
        np.multiply(h, h, out=d2phi)
        np.subtract(2.0, d2phi, out=d2phi)
        d2phi *= np.exp(-0.5 * h * h) / (_ROOT_2 * _ROOT_PI)
    phi *= h


def _softplus(h, phi, dphi=None, d2phi=None):
    np.logaddexp(0.0, h, out=phi)
    if dphi is not None:
        expit(h, out=dphi)
    if d2phi is not None:
        expit(h, out=d2phi)
        d2phi *= 1.0 - d2phi


def _linear(h, phi, dphi=None, d2phi=None):
    np.copyto(phi, h)
    if dphi is not None:
        dphi.fill(1.0)
    if d2phi is not None:
        d2phi.fill(0.0)


def _bell(h, out, height, rate):
    """out = height exp(-rate h^2)."""
    np.multiply(h, h, out=out)
    out *= -rate
    np.exp(out, out=out)
    out *= height


def leaky_relu(negative_slope, name="leaky_relu"):
    """max(h, 0) + negative_slope min(h, 0)."""

    def evaluate(h, phi, dphi=None, d2phi=None):
        if d2phi is not None:
            raise ValueError(f"{name} has no second derivative")
        np.multiply(h, negative_slope, out=phi)
        (np.maximum if negative_slope <= 1 else np.minimum)(h, phi, out=phi)
        if dphi is not None:
            np.greater(h, 0.0, out=dphi)
            dphi *= 1.0 - negative_slope
            dphi += negative_slope

    return Activation(name, evaluate, smooth=False, negative_slope=negative_slope)


#: Activations without a parameter, by name.
ACTIVATIONS = {
    "linear": Activation("linear", _linear, negative_slope=1.0),
    "relu": leaky_relu(0.0, "relu"),
    "tanh": Activation("tanh", _tanh),
    "erf": Activation("erf", _erf),
    "gelu": Activation("gelu", _gelu),
    "softplus": Activation("softplus", _softplus),
}
