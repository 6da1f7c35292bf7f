"""Trajectories of networks on a finite data set: the function they learn, its loss and its tangent kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import checks, curves
from .trajectory import Stored, Trajectory


@dataclass(frozen=True, eq=False, repr=False)
class FunctionTrajectory(Trajectory):
    """The function a network learns, at the P training samples and M test points.

    Attributes
    ----------
    function : ndarray (T, P + M), or (T, P + M, C) of C > 1 outputs
        Normalised logits, before every step; T = steps + 1. `predictions` and `test_predictions` are its parts.
    function_error : ndarray (T, P + M[, C])
        Monte Carlo standard error of `function`; zero where nothing is sampled.
    train_loss, test_loss : ndarray (T,) or None
        Mean loss of the unnormalised logits over the samples and over labelled test points; None where these diverge or vanish with
        the width, and without test labels.
    initial_function : ndarray (P + M[, C]) or None
        F0, the normalised initial logits that the trajectory has seen; None if it needs none.
    tangent_grams : ndarray (T, P + M, P) or None
        Tangent kernel at equal times, normalised; None unless tracked. See `tangent_kernel`.

    From the diverging step on all are inf.
    """

    function: np.ndarray
    function_error: np.ndarray
    train_loss: np.ndarray | None = None
    test_loss: np.ndarray | None = None
    initial_function: np.ndarray | None = None
    tangent_grams: np.ndarray | None = None

    stored: ClassVar = {
        "function": Stored(
            ("time", "point", "output"), "normalised logits before every step, at the training samples and then the test points"
        ),
        "function_error": Stored(("time", "point", "output"), "Monte Carlo standard error of the normalised logits"),
        "train_loss": Stored(("time",), "mean loss of the logits over the training samples, before every step"),
        "test_loss": Stored(("time",), "mean loss of the logits over the test points, before every step"),
        "initial_function": Stored(("point", "output"), "normalised initial logits", "fixed"),
        "tangent_grams": Stored(("time", "point", "sample"), "normalised tangent kernel, before every step"),
    }

    parts: ClassVar = {
        "predictions": ("time", "sample", "output"),
        "standard_error": ("time", "sample", "output"),
        "test_predictions": ("time", "test point", "output"),
        "test_standard_error": ("time", "test point", "output"),
    }

    @property
    def samples(self):
        """P, the number of training samples."""
        return len(self.data.x)

    @property
    def predictions(self):
        """Normalised logits at the training samples, shape (T, P)."""
        return self.function[:, : self.samples]

    @property
    def test_predictions(self):
        """Normalised logits at the test points, shape (T, M)."""
        return self.function[:, self.samples :]

    @property
    def standard_error(self):
        """Monte Carlo standard error of `predictions`, shape (T, P)."""
        return self.function_error[:, : self.samples]

    @property
    def test_standard_error(self):
        """Monte Carlo standard error of `test_predictions`, shape (T, M)."""
        return self.function_error[:, self.samples :]

    def tangent_kernel(self, test=False):
        """Normalised tangent kernel before every step, (T, P, P); with ``test`` its rows of the test points too, (T, P + M, P)."""
        if self.tangent_grams is None:
            raise ValueError("this trajectory has no tangent kernel; of a ShallowNet, solve with track='kernels'")
        return self.tangent_grams if checks.flag("test", test) else self.tangent_grams[:, : self.samples]

    def _attributes(self):
        return super()._attributes() | {"samples": self.samples}

    def summary(self):
        last = min(self.finished, self.rows) - 1
        size, error = np.abs(self.predictions[[0, last]]).reshape(2, -1).mean(axis=1), self.standard_error[last].mean()
        name = curves.function_name(self.options["loss"])
        lines = [f"{name:10} mean size {size[0]:.4g} -> {size[1]:.4g}" + (f", Monte Carlo error {error:.2g}" if error else "")]
        for name, loss in (("train loss", self.train_loss), ("test loss ", self.test_loss)):
            if loss is not None:
                lines.append(f"{name} {loss[0]:.6g} -> {loss[last]:.6g}")
        return [*lines, *(f"{name:10} {value}" for name, value in self.report.items() if name in ("limit", "normalisation"))]
