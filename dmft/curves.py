"""Which functions of time a result has, whatever the theory."""

from dataclasses import replace

import numpy as np


def losses(result):
    """Attributes of a trajectory or ensemble that hold its losses, by "test" and "train"; those that it does not have are left out."""
    return {kind: f"{kind}_loss" for kind in ("test", "train") if getattr(result, f"{kind}_loss") is not None}


def one_output(result):
    """A trajectory or ensemble on labels (P, 1) as if they were (P,); any other as it is."""
    data = result.data
    if data.label_axes != (1,):
        return result
    given = {name: getattr(result, name, None) for name in ("function", "function_error", "initial_function", "tangent_grams")}
    given = {name: array for name, array in given.items() if array is not None}
    flat = {name: array[..., 0] for name, array in given.items() if name != "tangent_grams"}
    if "tangent_grams" in given and given["tangent_grams"].ndim == 5:
        flat["tangent_grams"] = given["tangent_grams"][:, :, 0, :, 0]
    test_y = None if data.test_y is None else data.test_y[:, 0]
    return replace(result, data=replace(data, y=data.y[:, 0], test_y=test_y), **flat)


def function_name(loss):
    """What the outputs of a network are called: predictions of the labels for the square loss, else logits."""
    return "predictions" if loss == "mse" else "logits"


def root_mean_square(function):
    """Over the last axis of points; inf where any value is."""
    return np.sqrt(np.mean(function**2, axis=-1))


def selection(rows, count):
    """Indices of about `count` of the rows, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, rows - 1, count).round().astype(int))


def alignment(kernels, target):
    """<K, A> / (|K| |A|), Frobenius norms, of kernels (..., n, n) and a matrix (n, n); inf where K is not finite, 0 where K = 0."""
    result = np.full(kernels.shape[:-2], np.inf)
    finite = np.isfinite(kernels).all(axis=(-2, -1))
    largest = np.abs(kernels[finite]).max(axis=(1, 2), keepdims=True)
    done = kernels[finite] / np.where(largest > 0, largest, 1.0)
    sizes = np.linalg.norm(done, axis=(1, 2))
    result[finite] = np.tensordot(done, target) / (np.where(sizes > 0, sizes, 1.0) * np.linalg.norm(target))
    return result
