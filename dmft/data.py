"""Data a user can state: Gaussian inputs, isotropic or with any spectrum, and finite data sets."""

import math
from dataclasses import dataclass

import numpy as np

from . import checks
from .specification import Specification, check_type


@dataclass(frozen=True)
class Spectrum:
    """Input modes as the theory sees them.

    Attributes
    ----------
    eigenvalues : ndarray, shape (M,)
        lambda_k of the input covariance.
    fractions : ndarray, shape (M,)
        n_k / D, the fraction of the D input dimensions in mode k; they sum to at most one (dropped modes have lambda = 0).
    target : ndarray, shape (M, C, C)
        Second moment of the target weights per dimension of mode k (w*_k^2 times the output overlap Omega).
    noise : ndarray, shape (C, C)
        Covariance of the label noise, sigma^2 Sigma.
    """

    eigenvalues: np.ndarray
    fractions: np.ndarray
    target: np.ndarray
    noise: np.ndarray


def _check_common(data):
    object.__setattr__(data, "sample_ratio", checks.positive_or_inf("sample_ratio", data.sample_ratio))
    object.__setattr__(data, "label_noise", checks.nonnegative("label_noise", data.label_noise))


@dataclass(frozen=True, eq=False, repr=False)
class GaussianData(Specification):
    """Isotropic Gaussian inputs with a linear target, y_c = w*_c . x / sqrt(D) + noise.

    Parameters
    ----------
    sample_ratio : float
        alpha = P / D, or ``math.inf`` for training on the population.
    label_noise : float
        Standard deviation sigma of the label noise.
    target_overlap : array_like, shape (C, C), optional
        Omega_cc' = w*_c . w*_c' / D. Default: identity (unit targets, orthogonal between outputs).
    noise_covariance : array_like, shape (C, C), optional
        Sigma; the noise of the outputs has covariance sigma^2 Sigma. Default: identity.

    Examples
    --------
    >>> dmft.GaussianData(sample_ratio=2.0, label_noise=0.1)
    GaussianData(sample_ratio=2.0, label_noise=0.1)
    """

    sample_ratio: float = math.inf
    label_noise: float = 0.0
    target_overlap: np.ndarray | None = None
    noise_covariance: np.ndarray | None = None

    def __post_init__(self):
        _check_common(self)
        for name in ("target_overlap", "noise_covariance"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.covariance(name, getattr(self, name)))

    def spectrum(self, outputs):
        """The `Spectrum` for a network of `outputs` channels: one mode of eigenvalue one."""
        matrices = []
        for name in ("target_overlap", "noise_covariance"):
            value = getattr(self, name)
            if value is not None and len(value) != outputs:
                raise ValueError(f"{name} must have shape ({outputs}, {outputs}) for a network with outputs={outputs}; got {value.shape}")
            matrices.append(np.eye(outputs) if value is None else value)
        overlap, noise = matrices
        return Spectrum(np.ones(1), np.ones(1), overlap[None], self.label_noise**2 * noise)


@dataclass(frozen=True, eq=False, repr=False)
class StructuredData(Specification):
    """Gaussian inputs with any covariance spectrum and a linear target, in units where D dimensions share the modes.

    x_k = sqrt(lambda_k) z_k and y = sum_k w*_k x_k / sqrt(D) + noise. Each entry stands for a group of modes with common
    eigenvalue. Source: arXiv 2502.02531; docs/theory/deep_linear.md, section 3 (per-dimension scale, D0 = D).

    Parameters
    ----------
    eigenvalues : array_like, shape (M,)
        lambda_k >= 0.
    target_power : array_like, shape (M,) or (M, C, C)
        w*_k^2 per dimension of the group; for several outputs the matrices of overlaps of the target weights.
        Shape (M,) with several outputs means independent targets of equal power.
    multiplicity : array_like, shape (M,), optional
        Fraction n_k / D of the input dimensions in each group, summing to one. Default: equal fractions 1 / M.
    sample_ratio : float
        alpha = P / D, or ``math.inf``.
    label_noise : float
        Standard deviation sigma of the label noise.

    Examples
    --------
    A power law, with a target in the leading modes:

    >>> modes = np.arange(1, 11)
    >>> data = dmft.StructuredData(eigenvalues=1 / modes, target_power=np.where(modes <= 3, 1.0, 0.0), sample_ratio=2.0)
    >>> data.spectrum(outputs=1).eigenvalues[:3].round(2)
    array([1.  , 0.5 , 0.33])
    """

    eigenvalues: np.ndarray
    target_power: np.ndarray
    multiplicity: np.ndarray | None = None
    sample_ratio: float = math.inf
    label_noise: float = 0.0

    def __post_init__(self):
        _check_common(self)
        eigenvalues = checks.array("eigenvalues", self.eigenvalues, (None,))
        modes = len(eigenvalues)
        if np.any(eigenvalues < 0) or not np.any(eigenvalues > 0):
            raise ValueError(f"eigenvalues must be >= 0 and not all zero; the smallest given is {eigenvalues.min()}")
        power = checks.array("target_power", self.target_power, (modes,), (modes, "C", "C"))
        if power.ndim == 3:
            for k, matrix in enumerate(power):
                checks.covariance(f"target_power[{k}]", matrix) if np.any(matrix) else None
        elif np.any(power < 0):
            raise ValueError(f"target_power must be >= 0; the smallest given is {power.min()}")
        if self.multiplicity is None:
            multiplicity = checks.array("multiplicity", np.full(modes, 1.0 / modes), (modes,))
        else:
            multiplicity = checks.array("multiplicity", self.multiplicity, (modes,))
            if np.any(multiplicity <= 0):
                raise ValueError(f"multiplicity must be > 0; the smallest given is {multiplicity.min()}")
            if abs(multiplicity.sum() - 1.0) > 1e-9:
                raise ValueError(f"multiplicity must be fractions that sum to 1; got a sum of {multiplicity.sum():.12g}")
        for name, value in (("eigenvalues", eigenvalues), ("target_power", power), ("multiplicity", multiplicity)):
            object.__setattr__(self, name, value)

    def spectrum(self, outputs):
        """The `Spectrum` for a network of `outputs` channels; modes of zero eigenvalue are left out, as they carry no signal."""
        power = self.target_power
        if power.ndim == 3 and power.shape[1] != outputs:
            raise ValueError(
                f"target_power must have shape (M,) or (M, {outputs}, {outputs}) for a network with outputs={outputs}; got {power.shape}"
            )
        target = power if power.ndim == 3 else power[:, None, None] * np.eye(outputs)
        active = self.eigenvalues > 0
        return Spectrum(self.eigenvalues[active], self.multiplicity[active], target[active], self.label_noise**2 * np.eye(outputs))

    @classmethod
    def from_dataset(cls, x, y, sample_ratio=math.inf):
        """Spectrum, target and noise level of a real data set.

        The population is the data set itself: lambda_k are the eigenvalues of its covariance x^T x / P, the target is its
        least-squares linear map, and what that map leaves unexplained is the label noise. `x` is used as it is: centre it
        first, and scale it to mean square one per dimension if learning rates are to compare with isotropic data.

        Parameters
        ----------
        x : array_like, shape (P, D)
        y : array_like, shape (P,) or (P, 1)
            One output channel.
        sample_ratio : float
            alpha of the training sets to be described, drawn from this population.
        """
        dataset = Dataset(x, y)
        if dataset.targets.shape[1] != 1:
            raise ValueError(f"y must have one output channel, shape (P,); got {dataset.y.shape}")
        samples, dim = dataset.x.shape
        eigenvalues, vectors = np.linalg.eigh(dataset.x.T @ dataset.x / samples)
        eigenvalues = np.where(eigenvalues > 1e-10 * eigenvalues[-1], eigenvalues, 0.0)[::-1]
        weights = vectors[:, ::-1].T @ dataset.linear_target()[:, 0]
        residual = dataset.targets[:, 0] - dataset.x @ dataset.linear_target()[:, 0]
        power = np.where(eigenvalues > 0, dim * weights**2, 0.0)
        if not checks.SMALLEST <= eigenvalues[0] <= checks.LARGEST or power.max() > checks.LARGEST:
            raise ValueError(
                f"x must have variances between {checks.SMALLEST:g} and {checks.LARGEST:g}, and a linear map to y whose squared weights are at "
                f"most the latter; the largest are {eigenvalues[0]:.3g} and {power.max():.3g}"
            )
        return cls(
            eigenvalues=eigenvalues,
            target_power=power,
            sample_ratio=sample_ratio,
            label_noise=float(np.sqrt(np.mean(residual**2))),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Specification):
    """A finite data set. Unpacks as ``x, y = dataset``.

    Networks take x as it is, and each as its definition has it. An `MLP` divides by the root of the dimension, h = W x / sqrt(D), and
    wants entries of order one, |x|^2 about D. A `DeepNet`, h = W x, and a `ShallowNet`, h = w . x, do not, and want |x| about 1. `solve`
    warns (`ScaleWarning`) where the root mean square |x| is off by more than a factor 3 and the result is useless for it: the first
    step moves the function by more than 3 times the scale of the labels (their root mean square for "mse", else 1), or so little that
    all steps at this pace would not move it by half of that scale. A `DeepLinear` takes real data through `StructuredData.from_dataset`.

    Parameters
    ----------
    x : array_like, shape (P, D)
    y : array_like, shape (P,) or (P, C)
        Labels (P, 1) are those of one output, as (P,) are; functions have the axes of the labels.
    test_x : array_like, shape (M, D), optional
        Points at which predictions are wanted besides the training samples.
    test_y : array_like, shape (M,) or (M, C), optional
        Their labels, for the test loss.

    Raises
    ------
    TypeError
        For masked entries, complex numbers, dates, text or truth values; the message names the argument.
    ValueError
        For wrong shapes, entries that are not finite, or sizes whose squares and products are beyond double precision.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((20, 5))
    >>> data = dmft.Dataset(x[:16], np.sign(x[:16, 0]), test_x=x[16:], test_y=np.sign(x[16:, 0]))
    >>> data.points.shape
    (20, 5)
    """

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray | None = None
    test_y: np.ndarray | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("x", checks.array("x", self.x, ("P", "D")))
        put("y", checks.array("y", self.y, (len(self.x),), (len(self.x), "C")))
        if self.test_x is not None:
            put("test_x", checks.array("test_x", self.test_x, ("M", self.x.shape[1])))
        if self.test_y is not None:
            if self.test_x is None:
                raise ValueError("test_y needs test_x, the points whose labels it holds; got test_x=None")
            put("test_y", checks.array("test_y", self.test_y, (len(self.test_x), *self.y.shape[1:])))

    @property
    def points(self):
        """Training and test inputs, shape (P + M, D)."""
        return self.x if self.test_x is None else np.concatenate((self.x, self.test_x))

    def __iter__(self):
        return iter((self.x, self.y))

    @property
    def targets(self):
        """y as a (P, C) array."""
        return self.y.reshape(len(self.y), -1)

    @property
    def test_targets(self):
        """test_y as a (M, C) array, or None."""
        return None if self.test_y is None else self.test_y.reshape(len(self.test_y), -1)

    @property
    def label_axes(self):
        """Shape of a label, () or (C,): functions of networks on this data set have the same axes."""
        return self.y.shape[1:]

    def linear_target(self):
        """Least-squares map beta, shape (D, C), with y about x @ beta (minimum norm where x does not determine it)."""
        return np.linalg.lstsq(self.x, self.targets, rcond=1e-10)[0]


def check_data(data):
    """Raise TypeError unless `data` is Gaussian (isotropic or structured)."""
    check_type("data", data, (GaussianData, StructuredData))
