"""Small real data sets that ship with the package, and one's own in files."""

from numbers import Integral
from pathlib import Path

import numpy as np

from . import checks
from .data import Dataset
from .data_files import read

__all__ = ["binary_digits", "digits", "one_hot_digits", "read"]


def digits(classes=(3, 8)):
    """UCI optical digits: 8 x 8 images of handwritten digits, standardised for linear networks.

    Each pixel is centred over the chosen images, and one common factor makes the mean square per dimension one
    (trace of the covariance = 64), so that learning rates compare with those of isotropic data. Origin and licence: data/README.md.

    Parameters
    ----------
    classes : sequence of int, optional
        At least two different digits from 0 to 9; None stands for all ten.

    Returns
    -------
    Dataset
        x, shape (P, 64). For two classes y has shape (P,), -1 for the first and +1 for the second; for C > 2 classes y is one-hot,
        shape (P, C), one column per class in the given order. y is centred too: its mean (per column) is subtracted.

    Raises
    ------
    TypeError
        If `classes` is not a sequence of integers.
    ValueError
        If a class is not a digit from 0 to 9, is repeated, or if fewer than two are given.

    Examples
    --------
    >>> data = dmft.datasets.digits((3, 8))
    >>> data.x.shape, float(np.mean(data.x**2).round(6))
    ((357, 64), 1.0)
    """
    classes = tuple(range(10)) if classes is None else _checked_classes(classes)
    x, labels = _centred_images(classes)
    x /= np.sqrt(np.mean(x**2))
    y = (labels[:, None] == np.array(classes)).astype(float)
    if len(classes) == 2:
        y = y[:, 1] - y[:, 0]
    return Dataset(x, y - y.mean(axis=0))


def binary_digits(classes=(3, 8), samples=None, test_samples=0, flipped=0.0, seed=0, norm=1.0):
    """The images of `digits` for classifiers: two classes with labels -1 and +1, in random order, parted into samples and test points.

    Each pixel is centred over the images of both classes, then every image is scaled to the norm.

    Parameters
    ----------
    classes : sequence of two different digits
        The first has label -1, the second +1.
    samples : int, optional
        Training samples P. Default: all images that are not test points.
    test_samples : int
        Test points M; with 0 the data set has none.
    flipped : float
        Fraction of the training labels, at random, that have the opposite sign.
    seed : int
        Of the order and of the flipped labels; the images do not depend on `flipped`, nor the samples on `test_samples`.
    norm : float
        Euclidean norm of every image: 1, as a `ShallowNet` takes its inputs, or 8, the root of the dimension, for an `MLP`, which divides
        by that root.

    Returns
    -------
    Dataset
        x, shape (P, 64), y, shape (P,), and, with test points, test_x, shape (M, 64), and test_y, shape (M,), never flipped.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there are fewer images than points.

    Examples
    --------
    >>> data = dmft.datasets.binary_digits((3, 8), samples=16, test_samples=4, norm=8.0)
    >>> data.x.shape, data.test_x.shape, sorted(set(data.y.tolist())), float(np.linalg.norm(data.x[0]).round(6))
    ((16, 64), (4, 64), [-1.0, 1.0], 8.0)
    """
    classes = _checked_classes(classes)
    if len(classes) != 2:
        checks.fail("classes", classes, "two different digits from 0 to 9")
    flipped = checks.number("flipped", flipped, "a number from 0 to 1", lambda v: 0 <= v <= 1)
    order, flips = map(np.random.default_rng, checks.seed_sequence("seed", seed).spawn(2))
    x, labels, samples = _drawn(classes, samples, test_samples, norm, order)
    y = np.where(labels == classes[1], 1.0, -1.0)
    y[flips.permutation(samples)[: round(flipped * samples)]] *= -1
    return _parted(x, y, samples)


def one_hot_digits(classes=None, samples=None, test_samples=0, seed=0, norm=1.0):
    """The images of `digits` for classifiers of several classes: one-hot labels, otherwise as `binary_digits`.

    Parameters
    ----------
    classes : sequence of int, optional
        At least two different digits from 0 to 9; None stands for all ten.
    samples, test_samples, seed, norm
        As in `binary_digits`.

    Returns
    -------
    Dataset
        y and test_y have one column per class, in the given order.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there are fewer images than points.

    Examples
    --------
    >>> dmft.datasets.one_hot_digits((1, 4, 7), samples=16).y.shape
    (16, 3)
    """
    classes = tuple(range(10)) if classes is None else _checked_classes(classes)
    order = np.random.default_rng(checks.seed_sequence("seed", seed).spawn(1)[0])
    x, labels, samples = _drawn(classes, samples, test_samples, norm, order)
    return _parted(x, (labels[:, None] == np.array(classes)).astype(float), samples)


def _drawn(classes, samples, test_samples, norm, order):
    """Images of a norm in the order of a generator, their labels, and how many of them, the first, are training samples."""
    images, labels = _centred_images(classes)
    test_samples = checks.integer("test_samples", test_samples, 0)
    available = len(images) - test_samples
    if available < 1:
        checks.fail("test_samples", test_samples, f"less than the {len(images)} images of these classes")
    samples = available if samples is None else checks.integer("samples", samples, 1)
    if samples > available:
        checks.fail("samples", samples, f"at most {available}: these classes have {len(images)} images, {test_samples} of them test points")
    norm = checks.positive("norm", norm)
    chosen = order.permutation(len(images))[: samples + test_samples]
    return norm * images[chosen] / np.linalg.norm(images[chosen], axis=1, keepdims=True), labels[chosen], samples


def _parted(x, y, samples):
    test = (x[samples:], y[samples:]) if samples < len(x) else ()
    return Dataset(x[:samples], y[:samples], *test)


def _centred_images(classes):
    with np.load(_data_file("digits.npz"), allow_pickle=False) as stored:
        chosen = np.isin(stored["labels"], classes)
        x, labels = stored["images"][chosen].astype(float), stored["labels"][chosen]
    return x - x.mean(axis=0), labels


def _checked_classes(classes):
    allowed = "a sequence of at least two different digits from 0 to 9, or None for all ten"
    classes = checks.sequence("classes", classes, allowed)
    if any(isinstance(c, bool) or not isinstance(c, Integral) for c in classes):
        checks.fail("classes", classes, allowed, TypeError)
    if len(classes) < 2 or len(set(classes)) < len(classes) or not set(classes) <= set(range(10)):
        checks.fail("classes", classes, allowed)
    return classes


def _data_file(name):
    """Path of a file of data/: inside the package when installed, beside it in a source checkout."""
    package = Path(__file__).parent
    installed = package / "_data" / name
    return installed if installed.exists() else package.parent / "data" / name
