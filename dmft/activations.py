"""Activation functions a user can state: by name, or as any vectorised callables."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import checks
from .specification import Specification

#: Activations that can be stated by name.
ACTIVATION_NAMES = ("leaky_relu", "relu", "tanh", "erf", "gelu", "softplus", "linear")

_STEP = 1e-5
_AGREEMENT = 1e-5


def _points():
    """Where derivatives are checked: a (2, 60) array over [-4, 4], irrational so as to meet no likely kink."""
    return np.pi / 3.1 * np.linspace(-4.0, 3.9, 120).reshape(2, 60) + np.sqrt(2.0) / 1000


@dataclass(frozen=True, eq=False, repr=False)
class Activation(Specification):
    """An activation function of one's own, taken wherever the name of an activation is.

    Parameters
    ----------
    phi : callable
        phi(h) for a numpy array h of any shape, entry by entry, in double precision.
    dphi : callable
        phi'(h) in the same way; at a kink either one-sided derivative.
    d2phi : callable, optional
        phi''(h). Only methods that say so need it.
    name : str
        What files store in place of the functions, and what printed forms show.

    Derivatives are checked against finite differences at 120 points in [-4.1, 4.0].

    Notes
    -----
    A file holds the name only. Loading it gives a network whose activation is a `MissingActivation` of this name: results can be
    looked at and compared; to go on with the solve, pass the functions again, ``dmft.resume(path, steps=..., activation=...)``.
    Specifications are equal if their activations have equal names.

    Raises
    ------
    ValueError, TypeError
        If a function is missing, does not map arrays to finite arrays of the same shape, or is not the derivative it should be.

    Examples
    --------
    >>> sine = dmft.Activation(phi=np.sin, dphi=np.cos, name="sine")
    >>> dmft.MLP(depth=1, activation=sine)
    MLP(depth=1, activation=Activation(name='sine'), richness=1.0, outputs=1)
    """

    phi: Callable | None = None
    dphi: Callable | None = None
    d2phi: Callable | None = None
    name: str = "custom"

    def __post_init__(self):
        checks.text("name", self.name)
        if self.name in ACTIVATION_NAMES:
            checks.fail("name", self.name, "none of the names of built-in activations")
        for function in ("phi", "dphi"):
            if getattr(self, function) is None:
                raise ValueError(f"{function} must be given: an Activation needs phi and its derivative dphi as callables")
        h = _points()
        values = _evaluated("phi", self.phi, h)
        slopes = _checked_derivative("dphi", self.dphi, "phi", self.phi, h, values)
        if self.d2phi is not None:
            _checked_derivative("d2phi", self.d2phi, "dphi", self.dphi, h, slopes)

    def to_dict(self):
        return MissingActivation(self.name).to_dict()

    def __repr__(self):
        return f"Activation(name={self.name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class MissingActivation(Specification):
    """Stands for the `Activation` of this name in what was loaded from a file, which does not hold its functions."""

    name: str

    def __repr__(self):
        return f"Activation(name={self.name!r})"


def _evaluated(name, function, h):
    """Values of a user's function at h."""
    if not callable(function):
        checks.fail(name, function, "a callable that takes a numpy array", TypeError)
    given = h.copy()
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(given), dtype=float)
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name} must take a numpy array of any shape; at shape {h.shape} it raised {raised}") from error
    if values.shape != h.shape:
        raise ValueError(f"{name} must return an array of the shape of its argument, {h.shape}; got shape {values.shape}")
    if not np.array_equal(given, h):
        raise ValueError(f"{name} must leave its argument unchanged; it wrote into it")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be finite; at h = {h[~np.isfinite(values)][0]:.6g} it is {values[~np.isfinite(values)][0]}")
    return values


def _checked_derivative(name, function, primitive_name, primitive, h, primitive_values):
    slopes = _evaluated(name, function, h)
    differences = (_evaluated(primitive_name, primitive, h + _STEP) - _evaluated(primitive_name, primitive, h - _STEP)) / (2 * _STEP)
    scale = max(np.abs(slopes).max(), np.abs(primitive_values).max())
    wrong = np.abs(slopes - differences) > _AGREEMENT * scale
    if np.any(wrong):
        at, slope, difference = (array[wrong][0] for array in (h, slopes, differences))
        raise ValueError(
            f"{name} must be the derivative of {primitive_name} (in double precision); at h = {at:.6g} it is {slope:.6g}, "
            f"and finite differences of {primitive_name} give {difference:.6g}"
        )
    return slopes


def check(activation, negative_slope):
    """The negative slope of a checked activation, None for all but "leaky_relu", whose default is 0.1."""
    named = isinstance(activation, str)
    if not (activation in ACTIVATION_NAMES if named else isinstance(activation, (Activation, MissingActivation))):
        allowed = f"one of {', '.join(map(repr, ACTIVATION_NAMES))}, or a dmft.Activation"
        checks.fail("activation", activation, allowed, ValueError if named else TypeError)
    if activation == "leaky_relu":
        return checks.nonnegative("negative_slope", 0.1 if negative_slope is None else negative_slope)
    if negative_slope is not None:
        raise ValueError(f"negative_slope must be None for activation={activation!r}; it belongs to 'leaky_relu'")
    return None


def resolve(network):
    """The `solvers.activations.Activation` that a network states.

    Raises
    ------
    ValueError
        For an activation of one's own that was loaded from a file.
    """
    from solvers import activations

    activation = network.activation
    if isinstance(activation, MissingActivation):
        raise ValueError(
            f"activation {activation.name!r} must be supplied again, as files hold its name only: "
            f"dmft.resume(path, steps=..., activation=dmft.Activation(phi=..., dphi=..., name={activation.name!r})), "
            "or dataclasses.replace(network, activation=...)"
        )
    if isinstance(activation, Activation):
        evaluate = _Evaluate(activation.phi, activation.dphi, activation.d2phi)
        return activations.Activation(activation.name, evaluate, smooth=activation.d2phi is not None)
    return activations.leaky_relu(network.negative_slope) if activation == "leaky_relu" else activations.ACTIVATIONS[activation]


@dataclass(frozen=True)
class _Evaluate:
    """A user's functions in the form of `solvers.activations`."""

    phi: Callable
    dphi: Callable
    d2phi: Callable | None

    def __call__(self, h, phi, dphi=None, d2phi=None):
        for out, function in ((phi, self.phi), (dphi, self.dphi), (d2phi, self.d2phi)):
            if out is not None:
                np.copyto(out, function(h), casting="same_kind")
