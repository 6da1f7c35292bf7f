"""What simulations return: several finite networks trained on the same problem."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from . import checks, curves
from .result import Result
from .specification import Specification
from .tables import Tabular
from .training import OnlineSGD
from .trajectory import Stored


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Ensemble(Tabular, Result, ABC):
    """Several finite networks trained on the same problem; arrays have a leading axis of seeds.

    Attributes
    ----------
    network, data, training : Specification
        The problem.
    rng : str
        Seed i used the stream ``SeedSequence(entropy, spawn_key=(*spawn_key, i))`` of the entropy and spawn_key stated here.
    elapsed : float
        Wall time in seconds.

    Examples
    --------
    >>> problem = dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20)
    >>> networks = dmft.simulate(*problem, dim=50, seeds=4, progress=False)
    >>> networks
    <Ensemble of 4 finite networks: D = 50, widths 50, P = 100>
    >>> networks.train_loss.shape, networks.mean("train_loss").shape
    ((4, 21), (21,))
    """

    network: Specification
    data: Specification
    training: Specification
    rng: str
    elapsed: float = field(compare=False)

    #: By name in the file, in the order in which they are written.
    stored: ClassVar[dict[str, Stored]] = {}
    #: Functions of time that `mean` and `standard_error` take.
    averaged: ClassVar[tuple[str, ...]] = ()

    @property
    def times(self):
        """Those of `training.times`: steps 0 ... `training.steps`, entry t before update t; of a flow real times."""
        return self.training.times

    @property
    def seeds(self):
        """Number of networks."""
        return len(getattr(self, next(iter(self.stored))))

    @property
    def loss(self):
        """The loss that is trained on: another name of `train_loss`."""
        return self.train_loss

    def arrays(self):
        """The arrays to be stored, by the names of `stored`; those that this ensemble does not have are left out."""
        return {name: getattr(self, name) for name in self.stored if getattr(self, name) is not None}

    def labels(self, name):
        """Names of the dimensions of an array."""
        return self.stored[name].dimensions[: getattr(self, name).ndim]

    @abstractmethod
    def decisive(self):
        """What decided the result besides the problem, JSON-able."""

    def mean(self, name):
        """Mean over seeds; infinite where any seed has diverged.

        Parameters
        ----------
        name : str
            A function of time, one of `averaged`: "train_loss", "test_loss", or as this ensemble has them "predictions",
            "test_predictions", "tangent_kernel", ...

        Returns
        -------
        ndarray
            Without the axis of seeds.

        Raises
        ------
        ValueError
            If there is no such function, or this ensemble does not have it.
        """
        return self._values(name).mean(axis=0)

    def standard_error(self, name):
        """Standard error of `mean`; infinite where any seed has diverged.

        Parameters
        ----------
        name : str
            As for `mean`.

        Returns
        -------
        ndarray

        Raises
        ------
        ValueError
            As from `mean`, and with a single seed, which has no spread.
        """
        if self.seeds < 2:
            raise ValueError("a standard error needs seeds >= 2; this ensemble has one seed")
        values = self._values(name)
        finite = np.isfinite(values).all(axis=0)
        error = np.full(values.shape[1:], np.inf)
        error[finite] = values[:, finite].std(axis=0, ddof=1) / np.sqrt(self.seeds)
        return error

    def _values(self, name):
        values = getattr(self, checks.choice("name", name, self.averaged))
        if values is None:
            raise ValueError(f"this ensemble has no {name}")
        return values() if callable(values) else values

    def save(self, path):
        """Write an HDF5 file that `dmft.load` reads back.

        Parameters
        ----------
        path : path
            An ensemble file that exists is replaced.

        Raises
        ------
        StorageError
            If the file cannot be written, or exists and is something else.
        """
        from .storage import save

        save(self, path)

    def _loss_line(self, name, label):
        mean = self.mean(name)
        error = f" +- {self.standard_error(name)[-1]:.2g}" if self.seeds > 1 and np.isfinite(mean[-1]) else ""
        return f"  {label} {mean[0]:.4g} at t = 0, {mean[-1]:.4g}{error} at t = {self.times[-1]:.7g}"

    def _last_lines(self, loss):
        diverged = int((~np.isfinite(loss[:, -1])).sum())
        lines = [f"  {diverged} of {self.seeds} networks diverged"] if diverged else []
        return [*lines, f"  computed in {self.elapsed:.2f} s"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LinearEnsemble(Ensemble):
    """Losses of deep linear networks at proportional sizes.

    Attributes
    ----------
    test_loss, train_loss : ndarray, shape (seeds, T)
        Mean squares, summed over outputs; label noise counts in the training loss only. ``inf`` once a network has diverged.
    dim : int
        Input dimension D.
    widths : tuple of int
        N_1 ... N_L.
    samples : int or None
        Training samples P, the batch for `OnlineSGD`, None for training on the population.
    inputs : str or None
        What real inputs were used, None for Gaussian inputs.
    """

    test_loss: np.ndarray
    train_loss: np.ndarray
    dim: int
    widths: tuple
    samples: int | None
    inputs: str | None

    stored: ClassVar = {
        "test_loss": Stored(
            ("seed", "time"), "mean square error on fresh inputs without label noise, summed over outputs, before every step"
        ),
        "train_loss": Stored(("seed", "time"), "mean square error on the training samples, summed over outputs, before every step"),
    }
    averaged: ClassVar = ("test_loss", "train_loss")

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        super().__post_init__()

    def decisive(self):
        return {name: getattr(self, name) for name in ("dim", "widths", "samples", "rng", "inputs")}

    @property
    def sizes(self):
        """D, widths and number of samples in words."""
        text = f"D = {self.dim}, widths {', '.join(map(str, self.widths))}"
        if self.samples is None:
            return text
        return f"{text}, {'batch' if isinstance(self.training, OnlineSGD) else 'P'} = {self.samples}"

    def mean(self, name="test_loss"):
        return super().mean(name)

    def standard_error(self, name="test_loss"):
        return super().standard_error(name)

    def __str__(self):
        lines = [f"Ensemble of {self.seeds} finite networks: {self.sizes}", f"  {self.inputs or 'Gaussian inputs'}; {self.rng}"]
        lines += [self._loss_line("test_loss", "test loss "), self._loss_line("train_loss", "train loss")]
        return "\n".join([*lines, *self._last_lines(self.test_loss)])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FunctionEnsemble(Ensemble):
    """Functions learned by finite networks on a data set, at its P training samples and M test points.

    Attributes
    ----------
    function : ndarray (seeds, T, P + M), or (seeds, T, P + M, C) of C > 1 outputs
        Normalised logits; `predictions` and `test_predictions` are its parts. Infinite once a network has diverged.
    train_loss, test_loss : ndarray (seeds, T)
        Mean loss of the unnormalised logits over the samples, and over labelled test points (else None).
    initial_function : ndarray (seeds, P + M[, C])
        Normalised initial logits: what `dmft.solve` takes as ``initial_function``.
    tangent_grams : ndarray (seeds, T, P + M, P) or None
        Tangent kernel at equal times, normalised; None unless tracked. See `tangent_kernel`.
    coordinates : ndarray (seeds, T, 5, L + 1) or None
        Root mean squares over neurons and samples of h, phi(h), derivative of the loss by h, change of h since initialization, and the
        part of that change due to the layer's own weights; layer L + 1 are the logits. None unless tracked.
    width : int
    options : dict
        Everything else that decided the result, as in `dmft.simulate`.
    """

    function: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray | None = None
    initial_function: np.ndarray
    tangent_grams: np.ndarray | None = None
    coordinates: np.ndarray | None = None
    width: int
    options: dict

    stored: ClassVar = {
        "function": Stored(
            ("seed", "time", "point", "output"), "normalised logits before every step, at the training samples and then the test points"
        ),
        "train_loss": Stored(("seed", "time"), "mean loss of the logits over the training samples, before every step"),
        "test_loss": Stored(("seed", "time"), "mean loss of the logits over the test points, before every step"),
        "initial_function": Stored(("seed", "point", "output"), "normalised initial logits"),
        "tangent_grams": Stored(("seed", "time", "point", "sample"), "normalised tangent kernel, before every step"),
        "coordinates": Stored(
            ("seed", "time", "signal", "layer"),
            "root mean squares of h, x, derivative of the loss by h, change of h, and change by own weights; the last layer are the logits",
        ),
    }
    averaged: ClassVar = (
        *("function", "predictions", "test_predictions", "train_loss", "test_loss"),
        *("tangent_kernel", "tangent_grams", "coordinates"),
    )
    parts: ClassVar = {
        "predictions": ("seed", "time", "sample", "output"),
        "test_predictions": ("seed", "time", "test point", "output"),
    }

    @property
    def predictions(self):
        """Normalised logits at the training samples, shape (seeds, T, P)."""
        return self.function[:, :, : len(self.data.x)]

    @property
    def test_predictions(self):
        """Normalised logits at the test points, shape (seeds, T, M)."""
        return self.function[:, :, len(self.data.x) :]

    def tangent_kernel(self, test=False):
        """Normalised tangent kernel before every step, (seeds, T, P, P); with ``test`` its rows at test points too, (seeds, T, P + M, P)."""
        if self.tangent_grams is None:
            raise ValueError("this ensemble has no tangent kernels; of a ShallowNet, simulate with track='kernels'")
        return self.tangent_grams if checks.flag("test", test) else self.tangent_grams[:, :, : len(self.data.x)]

    def decisive(self):
        return {"width": self.width, "options": self.options, "rng": self.rng}

    @property
    def sizes(self):
        """Width and number of samples in words."""
        return f"width {self.width}, P = {len(self.data.x)}"

    def __str__(self):
        lines = [
            f"Ensemble of {self.seeds} finite networks: {self.sizes}",
            f"  {self.network}",
            f"  {self.rng}",
            self._loss_line("train_loss", "train loss"),
        ]
        if self.test_loss is not None:
            lines.append(self._loss_line("test_loss", "test loss "))
        return "\n".join([*lines, *self._last_lines(self.train_loss)])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class KernelEnsemble(FunctionEnsemble):
    """Functions and kernels of finite fully connected networks on a data set; arrays have an axis of outputs where the labels have one.

    Attributes
    ----------
    function : ndarray (seeds, T, P + M[, C])
        Predictions, less those before training unless ``center=False``.
    initial_function : ndarray (seeds, P + M[, C])
        Predictions before training.
    feature_kernels : ndarray (seeds, L, K, P + M, K, P + M) or None
        Phi^1 ... Phi^L between the K times ``options["kernel_times"]``; None unless tracked.
    gradient_kernels : ndarray (seeds, L, K, P C, K, P C) or None
        G^1 ... G^L in the same way, for the training samples.
    """

    feature_kernels: np.ndarray | None = None
    gradient_kernels: np.ndarray | None = None

    stored: ClassVar = {
        "function": Stored(
            ("seed", "time", "point", "output"), "predictions before every step, at the training samples and then the test points"
        ),
        "train_loss": Stored(("seed", "time"), "mean loss over the training samples, before every step"),
        "test_loss": Stored(("seed", "time"), "mean loss over the test points, before every step"),
        "initial_function": Stored(("seed", "point", "output"), "predictions before training"),
        "feature_kernels": Stored(
            ("seed", "layer", "chosen time", "point", "chosen time'", "point'"), "feature kernels of layers 1 to L between the chosen times"
        ),
        "gradient_kernels": Stored(
            ("seed", "layer", "chosen time", "sample and output", "chosen time'", "sample and output'"),
            "gradient kernels of layers 1 to L between the chosen times",
        ),
    }
    averaged: ClassVar = (
        *("function", "predictions", "test_predictions", "train_loss", "test_loss"),
        *("tangent_kernel", "feature_kernels", "gradient_kernels"),
    )

    @property
    def kernel_times(self):
        """Times at which kernels are known, (K,)."""
        return np.array(self.options["kernel_times"])

    def _coordinates(self):
        return super()._coordinates() | {"chosen_time": self.kernel_times}

    def feature_kernel(self, layer, test=False):
        """Feature kernel between the `kernel_times`, (seeds, K, P, K, P).

        Parameters
        ----------
        layer : int
            0: the input Gram matrix x x^T / D, the same for all seeds; 1 ... L: Phi^l.
        test : bool
            Include the test points, after the samples: (seeds, K, P + M, K, P + M).
        """
        points = len(self.data.points) if checks.flag("test", test) else len(self.data.x)
        layer, kernels = self._layer("feature_kernels", layer, 0, self.network.depth)
        if layer:
            return kernels[:, layer - 1, :, :points, :, :points]
        x, times = self.data.points[:points], len(self.kernel_times)
        return np.broadcast_to((x @ x.T / x.shape[1])[:, None], (self.seeds, times, points, times, points))

    def gradient_kernel(self, layer, test=False):
        """Gradient kernel between the `kernel_times`, (seeds, K, P, K, P), or (seeds, K, P, C, K, P, C) for labels with an axis of outputs.

        Parameters
        ----------
        layer : int
            1 ... L: G^l; L + 1: that of the output, 1.
        test : bool
            Must be False: gradients are recorded at the training samples.
        """
        self._refuse_test(test)
        layer, kernels = self._layer("gradient_kernels", layer, 1, self.network.depth + 1)
        times, shape = len(self.kernel_times), self.data.targets.shape
        if layer <= self.network.depth:
            kernel = kernels[:, layer - 1]
        else:
            kernel = np.broadcast_to(np.eye(shape[1])[:, None, None], (self.seeds, times, shape[0], shape[1], times, *shape))
        return kernel.reshape(self.seeds, *2 * (times, *self.data.y.shape))

    def tangent_kernel(self, test=False):
        """Sum over layers of Phi^(l-1) G^l at the `kernel_times`, (seeds, K, P, P), or (seeds, K, P, C, P, C) for labels with outputs.

        Gradients are recorded at the training samples, so ``test=True`` is refused.
        """
        self._refuse_test(test)
        (samples, outputs), tangent = self.data.targets.shape, 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in range(1, self.network.depth + 2):
                phi, g = self._at_equal_times(self.feature_kernel(layer - 1)), self._at_equal_times(self.gradient_kernel(layer))
                tangent = tangent + phi[..., None, :, None] * g.reshape(*g.shape[:2], samples, outputs, samples, outputs)
        return tangent.reshape(*tangent.shape[:2], *2 * self.data.y.shape)

    def alignment(self, kernel="tangent"):
        """Kernel-target alignment of every network at the `kernel_times`, as `KernelTrajectory.alignment` has it, (seeds, K)."""
        y = self.data.targets
        if checks.choice("kernel", kernel, ("tangent", "features")) == "features":
            return curves.alignment(self._at_equal_times(self.feature_kernel(self.network.depth)), y @ y.T)
        tangent = self.tangent_kernel()
        return curves.alignment(tangent.reshape(*tangent.shape[:2], y.size, y.size), np.outer(y, y))

    @staticmethod
    def _at_equal_times(kernel):
        """(seeds, K, ..., K, ...) -> (seeds, K, ..., ...)."""
        return np.moveaxis(np.diagonal(kernel, axis1=1, axis2=(kernel.ndim + 1) // 2), -1, 1)

    def _layer(self, name, layer, lowest, highest):
        """The number of a checked layer, and the kernels of all."""
        if checks.integer("layer", layer, lowest) > highest:
            checks.fail("layer", layer, f"an integer from {lowest} to {highest}")
        kernels = getattr(self, name)
        if kernels is None:
            raise ValueError("this ensemble has no kernels: simulate with track='kernels'")
        return layer, kernels

    @staticmethod
    def _refuse_test(test):
        if checks.flag("test", test):
            raise ValueError("test must be False for finite fully connected networks: their gradients are recorded at the training samples")
