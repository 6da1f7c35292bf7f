"""Small real data sets that ship with the package."""

from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

import numpy as np

from . import checks
from .data import Dataset


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
    """
    classes = tuple(range(10)) if classes is None else _checked_classes(classes)
    with np.load(_data_file("digits.npz"), allow_pickle=False) as stored:
        chosen = np.isin(stored["labels"], classes)
        x, labels = stored["images"][chosen].astype(float), stored["labels"][chosen]
    x -= x.mean(axis=0)
    x /= np.sqrt(np.mean(x**2))
    y = (labels[:, None] == np.array(classes)).astype(float)
    if len(classes) == 2:
        y = y[:, 1] - y[:, 0]
    return Dataset(x, y - y.mean(axis=0))


def _checked_classes(classes):
    allowed = "a sequence of at least two different digits from 0 to 9, or None for all ten"
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        checks.fail("classes", classes, allowed, TypeError)
    classes = tuple(classes)
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
