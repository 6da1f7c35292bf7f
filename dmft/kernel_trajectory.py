"""Trajectories of wide networks that learn features: the function, and the kernels of every layer between all times."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import checks, curves
from .function_trajectory import FunctionTrajectory
from .trajectory import Stored


@dataclass(frozen=True, eq=False, repr=False)
class KernelTrajectory(FunctionTrajectory):
    """The function an infinitely wide network learns at P training samples and M test points, and its kernels.

    Arrays have an axis of the C outputs where the labels have one. `P'` is the number of points at which gradients are followed: P, P + M
    if asked for, or 1 where gradients are the same at all points (linear networks). Kernels are None unless tracked.

    Attributes
    ----------
    function, function_error : ndarray (T, P + M[, C])
        Predictions before every step, and their Monte Carlo standard error (zero where nothing is sampled).
    train_loss, test_loss : ndarray (T,)
        Mean over samples, sum over outputs, of (y - f)^2 without the factor 1/2 or of ln(1 + exp(-y f)), for the mean predictions.
    train_loss_error : ndarray (T,)
        Monte Carlo standard error of `train_loss`.
    tangent_grams, tangent_gram_errors : ndarray (T, P', P), or (T, P', C, P, C) for labels with an axis of outputs
        K = sum_l Phi^{l-1} G^l over all weight matrices at equal times, and its standard error; P + M rows where P' = 1.
    feature_factors : ndarray (T, L, P + M, r)
        F with Phi^l(t, s) = F(t) F(s)^T at different times.
    gradient_factors : ndarray (T, L, P' C, r)
        The same for G^l.
    feature_signs, gradient_signs : ndarray (L, r) or None
        Signs between the factors, of kernels that need not be positive (method "perturbative").
    feature_grams, feature_gram_errors : ndarray (T, L, P + M, P + M)
        Phi^l at equal times and its standard error.
    gradient_grams, gradient_gram_errors : ndarray (T, L, P' C, P' C)
        The same for G^l.
    preactivations : ndarray (K, L, P + M, S) or None
        Samples of h^1 ... h^L at the K chosen times (option ``preactivation_times``).

    From the diverging step on all are inf.
    """

    train_loss_error: np.ndarray | None = None
    tangent_gram_errors: np.ndarray | None = None
    feature_factors: np.ndarray | None = None
    gradient_factors: np.ndarray | None = None
    feature_signs: np.ndarray | None = None
    gradient_signs: np.ndarray | None = None
    feature_grams: np.ndarray | None = None
    feature_gram_errors: np.ndarray | None = None
    gradient_grams: np.ndarray | None = None
    gradient_gram_errors: np.ndarray | None = None
    preactivations: np.ndarray | None = None

    stored: ClassVar = {
        "function": Stored(("time", "point", "output"), "predictions before every step, at the training samples and then the test points"),
        "function_error": Stored(("time", "point", "output"), "Monte Carlo standard error of the predictions"),
        "train_loss": Stored(("time",), "mean loss over the training samples, before every step"),
        "train_loss_error": Stored(("time",), "Monte Carlo standard error of the loss"),
        "test_loss": Stored(("time",), "mean loss over the test points, before every step"),
        "tangent_grams": Stored(("time", "followed point", "sample"), "tangent kernel, before every step"),
        "tangent_gram_errors": Stored(("time", "followed point", "sample"), "Monte Carlo standard error of the tangent kernel"),
        "feature_factors": Stored(
            ("time", "layer", "point", "feature rank"),
            "F of the feature kernels F(t) F(s)^T between different times, layers 1 to L",
            "growing",
        ),
        "gradient_factors": Stored(
            ("time", "layer", "followed point and output", "gradient rank"),
            "F of the gradient kernels F(t) F(s)^T between different times, layers 1 to L",
            "growing",
        ),
        "feature_signs": Stored(("layer", "feature rank"), "signs between the factors of the feature kernels", "fixed"),
        "gradient_signs": Stored(("layer", "gradient rank"), "signs between the factors of the gradient kernels", "fixed"),
        "feature_grams": Stored(("time", "layer", "point", "point'"), "feature kernels at equal times"),
        "feature_gram_errors": Stored(
            ("time", "layer", "point", "point'"), "Monte Carlo standard error of the feature kernels at equal times"
        ),
        "gradient_grams": Stored(
            ("time", "layer", "followed point and output", "followed point and output'"), "gradient kernels at equal times"
        ),
        "gradient_gram_errors": Stored(
            ("time", "layer", "followed point and output", "followed point and output'"),
            "Monte Carlo standard error of the gradient kernels at equal times",
        ),
        "preactivations": Stored(("chosen time", "layer", "point", "Monte Carlo sample"), "samples of the preactivations", "filled"),
    }

    def _coordinates(self):
        return super()._coordinates() | {"chosen_time": np.array(self.options.get("preactivation_times", ()), dtype=int)}

    def labels(self, name):
        if name.startswith("tangent_gram") and self.data.y.ndim == 2:
            return "time", "followed point", "output", "sample", "output'"
        return super().labels(name)

    def feature_kernel(self, layer, test=False):
        """Feature kernel between all times, (T, P, T, P); inf outside the finished rows.

        Parameters
        ----------
        layer : int
            0: the input Gram matrix x x^T / D; 1 ... L: Phi^l = <phi(h^l) phi(h^l)>.
        test : bool
            Include the test points, after the samples: (T, P + M, T, P + M).
        """
        points = len(self.data.points) if checks.flag("test", test) else self.samples
        if self._layer(layer, 0, self.network.depth) == 0:
            x = self.data.points[:points]
            whole = np.broadcast_to((x @ x.T / x.shape[1])[:, None], (points, self.rows, points))
            return np.ascontiguousarray(np.broadcast_to(whole, (self.rows, *whole.shape)))
        factor, grams = self._tracked("feature_factors")[:, layer - 1, :points], self.feature_grams[:, layer - 1, :points, :points]
        return self._kernel(factor, grams, _of_layer(self.feature_signs, layer))

    def gradient_kernel(self, layer, test=False):
        """Gradient kernel between all times, (T, P, T, P), or (T, P, C, T, P, C) for labels with an axis of outputs.

        Parameters
        ----------
        layer : int
            1 ... L: G^l = <g^l g^l>; L + 1: that of the output, 1.
        test : bool
            Include the test points, where gradients have been followed there (``track="test kernels"``).
        """
        depth, outputs = self.network.depth, self.network.outputs
        points = len(self.data.points) if checks.flag("test", test) else self.samples
        if self._layer(layer, 1, depth + 1) == depth + 1:
            kernel = np.broadcast_to(np.eye(outputs)[:, None], (self.rows, outputs, self.rows, outputs))
            followed = 1
        else:
            factors, grams = self._tracked("gradient_factors")[:, layer - 1], self.gradient_grams[:, layer - 1]
            followed = factors.shape[1] // outputs
            used = outputs * min(points, followed)
            kernel = self._kernel(factors[:, :used], grams[:, :used, :used], _of_layer(self.gradient_signs, layer))
        if followed == 1:
            shape = self.rows, 1, outputs, self.rows, 1, outputs
            kernel = np.broadcast_to(kernel.reshape(shape), (self.rows, points, outputs, self.rows, points, outputs)).copy()
        elif followed < points:
            raise ValueError("test=True needs gradients at the test points: solve with track='test kernels'")
        shape = (self.rows, points) if self.data.y.ndim == 1 else (self.rows, points, outputs)
        return kernel.reshape(*shape, *shape)

    def tangent_kernel(self, test=False):
        """Tangent kernel K = sum_l Phi^(l-1) G^l at equal times, (T, P, P), or (T, P, C, P, C) for labels with an axis of outputs.

        Parameters
        ----------
        test : bool
            Include rows of the test points, (T, P + M, ...), where gradients have been followed there (``track="test kernels"``).
        """
        return self._rows_of_points("tangent_grams", test)

    def tangent_kernel_error(self, test=False):
        """Monte Carlo standard error of `tangent_kernel`."""
        return self._rows_of_points("tangent_gram_errors", test)

    def _rows_of_points(self, name, test):
        points, values = len(self.data.points) if checks.flag("test", test) else self.samples, self._tracked(name)
        if values.shape[1] < points:
            raise ValueError("test=True needs gradients at the test points: solve with track='test kernels'")
        return values[:, :points]

    def feature_kernel_error(self, layer, test=False):
        """Monte Carlo standard error of the feature kernel at equal times, (T, P, P), with ``test`` (T, P + M, P + M)."""
        layer, points = self._layer(layer, 1, self.network.depth), len(self.data.points) if checks.flag("test", test) else self.samples
        return self._tracked("feature_gram_errors")[:, layer - 1, :points, :points]

    def gradient_kernel_error(self, layer):
        """Monte Carlo standard error of the gradient kernel at equal times, (T, P C, P C)."""
        layer, used = self._layer(layer, 1, self.network.depth), self.samples * self.network.outputs
        return self._tracked("gradient_gram_errors")[:, layer - 1, :used, :used]

    def alignment(self, kernel="tangent"):
        """Kernel-target alignment <K, y y^T> / (|K| |y y^T|) over time, Frobenius norms on the training samples, (T,).

        Parameters
        ----------
        kernel : {"tangent", "features"}
            The tangent kernel, or the feature kernel of the last layer, at equal times.
        """
        y = self.data.targets
        if checks.choice("kernel", kernel, ("tangent", "features")) == "features":
            kernels, target = self._tracked("feature_grams")[:, -1, : self.samples, : self.samples], y @ y.T
        else:
            kernels = self._tracked("tangent_grams")[:, : self.samples]
            kernels, target = kernels.reshape(self.rows, y.size, y.size), np.outer(y, y)
        return curves.alignment(kernels, target)

    def _layer(self, layer, lowest, highest):
        if checks.integer("layer", layer, lowest) > highest:
            checks.fail("layer", layer, f"an integer from {lowest} to {highest}")
        return layer

    def _tracked(self, name):
        values = getattr(self, name)
        if values is None:
            raise ValueError("this trajectory has no kernels: solve with track='kernels'")
        return values

    def _kernel(self, factor, grams, signs):
        """F(t) F(s)^T, the stated values at equal times, (T, n, T, n)."""
        done, (rows, n, _) = self.finished, factor.shape
        flat = factor[:done].reshape(done * n, -1)
        kernel = np.full((rows, n, rows, n), np.inf)
        kernel[:done, :, :done] = ((flat if signs is None else flat * signs) @ flat.T).reshape(done, n, done, n)
        times = np.arange(done)
        kernel[times, :, times] = grams[:done]
        return kernel

    def summary(self):
        last = min(self.finished, self.rows) - 1
        size, error = np.sqrt(np.mean(self.predictions[last] ** 2)), np.sqrt(np.mean(self.standard_error[last] ** 2))
        lines = [f"predictions  rms {size:.4g} at the end" + (f", Monte Carlo error {error:.2g}" if error else "")]
        for name, loss in (("train loss", self.train_loss), ("test loss ", self.test_loss)):
            if loss is not None:
                lines.append(f"{name}   {loss[0]:.6g} -> {loss[last]:.6g}")
        if self.tangent_grams is not None and np.any(self.data.targets):
            alignments = {name: self.alignment(name) for name in ("tangent", "features")}
            text = ", ".join(f"{name} {values[0]:.3f} -> {values[last]:.3f}" for name, values in alignments.items())
            lines.append(f"alignment    {text}    kernels {self.nbytes / 2**20:.1f} MiB")
        return [*lines, *(f"{name:12} {self.report[name]}" for name in ("sampling", "accuracy") if name in self.report)]


def _of_layer(signs, layer):
    return None if signs is None else signs[layer - 1]
