"""Trajectories of deep linear networks: losses and two-time functions."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import checks
from .trajectory import Stored, Trajectory

#: Two-time functions by public name: layer-wise ones carry a leading layer axis in `Trajectory.kernels`.
CORRELATIONS = {"h": "Ch", "g": "Cg", "v": "Cv", "u": "Cu", "delta": "Cd"}
RESPONSES = {"h": "Rh", "g": "Rg", "v": "Rv", "u": "Ru", "delta": "Rd"}
LAYERED = ("h", "g")
KERNELS = (*CORRELATIONS.values(), *RESPONSES.values())

_DESCRIPTIONS = {
    "Ch": "correlation <h h> of the forward fields of every layer",
    "Cg": "correlation <g g> of the backward fields of every layer",
    "Cv": "correlation <v v> of the error of the learned map, averaged over input modes with weight lambda_k",
    "Cu": "correlation <u u> of the gradient field on the inputs, averaged over input modes",
    "Cd": "correlation of the errors on the training samples",
    "Rh": "response dh/db of every layer, divided by the richness",
    "Rg": "response dg/da of every layer, divided by the richness",
    "Rv": "response R_v, averaged over input modes",
    "Ru": "response R_u = Q, averaged over input modes",
    "Rd": "response of the errors on the training samples",
}


def _stored_kernel(name):
    dimensions = ("layer", "time", "time'") if name[1] in LAYERED else ("time", "time'")
    return Stored(dimensions, f"{_DESCRIPTIONS[name]}; lower triangle", "triangle")


@dataclass(frozen=True, eq=False, repr=False)
class LinearTrajectory(Trajectory):
    """Losses and two-time functions of a deep linear network.

    Attributes
    ----------
    test_loss, train_loss : ndarray (T,)
        Mean squares, summed over outputs, before every step; T = steps + 1. From the diverging step on they are inf; an
        interrupted trajectory has only its finished rows. Test losses do not include the label noise.
    kernels : dict of ndarray
        Lower triangles of the correlations (Ch, Cg: (L, n, n); Cv, Cu, Cd: (n, n)) and of the responses divided by gamma
        (Rh, Rg) or plain (Rv, Ru, Rd); n = T C, time-major. Read them through `correlation` and `response`.
    loss_error : ndarray (T,), or None
        Estimate of the error of both losses, of a gradient flow that of its integration, at infinite depth how far the last extrapolation
        moves them, at most within the last quarter of the rows; None where the solution is exact.
    """

    test_loss: np.ndarray
    train_loss: np.ndarray
    kernels: dict
    loss_error: np.ndarray | None = None

    stored: ClassVar = {
        "test_loss": Stored(("time",), "mean square error on fresh inputs without label noise, summed over outputs, before every step"),
        "train_loss": Stored(("time",), "mean square error on the training samples, summed over outputs, before every step"),
        "loss_error": Stored(("time",), "estimate of the error of both losses"),
    } | {f"kernels/{name}": _stored_kernel(name) for name in KERNELS}

    def arrays(self):
        kernels = {f"kernels/{name}": kernel for name, kernel in self.kernels.items()}
        error = {} if self.loss_error is None else {"loss_error": self.loss_error}
        return {"test_loss": self.test_loss, "train_loss": self.train_loss} | error | kernels

    @classmethod
    def from_arrays(cls, arrays, **common):
        kernels = {name: arrays[f"kernels/{name}"] for name in KERNELS}
        losses = {name: arrays.get(name) for name in ("test_loss", "train_loss", "loss_error")}
        return cls(**losses, kernels=kernels, **common)

    @property
    def layer_times(self):
        """Share of the branches of a residual network below every hidden state, shape (L,); None for a plain network."""
        return self.network.layer_times

    def correlation(self, name, layer=None):
        """Two-time correlation of a field.

        Parameters
        ----------
        name : {"h", "g", "v", "u", "delta"}
            "h", "g": forward and backward fields of a layer, <h^l h^l>, <g^l g^l>. "v": error of the learned map, averaged over
            input modes with weight lambda_k, so that its diagonal is the test loss. "u": gradient field on the inputs.
            "delta": errors on the training samples; its diagonal is the train loss (and more, for random subsets).
        layer : int, optional
            1 ... L, for "h" and "g" only.

        Returns
        -------
        ndarray, shape (T, T), or (T, C, T, C) for several outputs
            Symmetric; inf outside the finished rows.
        """
        lower = self._kernel("correlation", CORRELATIONS, name, layer)
        strict = np.tril(lower, -1)
        return self._shaped(np.tril(lower) + strict.T, symmetric=True)

    def response(self, name, layer=None):
        """Two-time response of a field: dh^l/db^l, dg^l/da^l, R_v and R_u = Q (averaged over modes), R_delta.

        Same arguments and shapes as `correlation`; zero above the diagonal. Source: docs/theory/deep_linear.md, sections 1 and 3.
        """
        lower = self._kernel("response", RESPONSES, name, layer)
        factor = self.network.richness if name in LAYERED else 1.0
        return self._shaped(factor * np.tril(lower), symmetric=False)

    def _kernel(self, kind, names, name, layer):
        if not isinstance(name, str) or name not in names:
            checks.fail("name", name, f"one of {', '.join(map(repr, names))} for a {kind}")
        if name not in LAYERED:
            if layer is not None:
                raise ValueError(f"layer must be None for {name!r}, which belongs to no layer; got {checks.shown(layer)}")
            return self.kernels[names[name]]
        depth = self.network.hidden_states
        allowed = f"an integer from 1 to {depth} for {name!r}"
        if layer is None:
            checks.fail("layer", layer, allowed)
        layer = checks.integer("layer", layer, 1)
        if layer > depth:
            checks.fail("layer", layer, allowed)
        return self.kernels[names[name]][layer - 1]

    def _shaped(self, matrix, symmetric):
        outputs = self.network.outputs
        done = self.finished * outputs
        matrix[done:] = np.inf if symmetric else np.tril(np.full(matrix.shape, np.inf))[done:]
        if symmetric:
            matrix[:, done:] = np.inf
        if outputs == 1:
            return matrix
        rows = len(matrix) // outputs
        return matrix.reshape(rows, outputs, rows, outputs)

    def _names(self):
        error = () if self.loss_error is None else ("loss_error",)
        return "test_loss", "train_loss", *error, *(f"{letter}_{name}" for letter in "CR" for name in CORRELATIONS)

    def _variable(self, name):
        letter, _, field = name.partition("_")
        if letter not in ("C", "R"):
            return super()._variable(name)
        read = self.correlation if letter == "C" else self.response
        dimensions = ("time", "time_2") if self.network.outputs == 1 else ("time", "output", "time_2", "output_2")
        if field not in LAYERED:
            return dimensions, read(field)
        return ("layer", *dimensions), np.stack([read(field, layer=layer) for layer in range(1, self.network.hidden_states + 1)])

    def summary(self):
        last = min(self.finished, self.rows) - 1
        losses = ((name, getattr(self, f"{name}_loss")) for name in ("test", "train"))
        error = [] if self.loss_error is None else [f"losses are within {self.loss_error[: last + 1].max():.1g} of the limit"]
        return [
            "    ".join(f"{name} loss  {loss[0]:.6g} -> {loss[last]:.6g}" for name, loss in losses),
            *error,
            f"kernels    correlations and responses of {', '.join(CORRELATIONS)}    {self.nbytes / 2**20:.1f} MiB",
        ]
