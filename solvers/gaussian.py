"""Gaussian expectations of pre-activations: E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for jointly Gaussian, centred u and v.

Closed forms for (leaky) ReLU and linear units (docs/theory/shallow_limits.md, section 4) and for erf; any other phi is expanded in
normalised Hermite polynomials He_n (Mehler's formula),

    E[phi(u) phi(v)] = sum_n rho^n a_n(sigma_u) a_n(sigma_v),    a_n(sigma) = E[phi(sigma z) He_n(z)],  z ~ N(0, 1),

whose remainder after n terms is at most |rho|^n sqrt(r_n(sigma_u) r_n(sigma_v)) with r_n = E[phi^2] - sum_{m<n} a_m^2.
"""

import numpy as np

from .activations import ACTIVATIONS
from .compiled import kernel

_RANGE = 14.0
_TOLERANCE = 1e-13
_MAX_TERMS = 2**13
_LARGEST = 1e150
#: Largest part of E[phi'^2] that the expansion may leave out; of tanh that is what is left out at sigma = 55.
_UNRESOLVED = 0.1
_CHUNK = 256


def expectations(activation, covariance, variances=None):
    """E[phi(u_i) phi(v_j)] and E[phi'(u_i) phi'(v_j)].

    Closed forms are exact up to rounding, those of kinked phi' up to the rounding of the angle: 1e-8 for points whose cosine is
    within 1e-15 of +-1, except that identical and opposite points are exact. Smooth phi are accurate to 1e-11 relative to
    E[phi^2] as long as phi(sigma z) is resolved by 8192 Hermite polynomials (tanh: sigma up to about 8; beyond that, only points
    with |rho| close to 1 lose accuracy); kinked phi without closed form to 1e-6, their slopes to 1e-3.

    Parameters
    ----------
    activation : Activation
    covariance : ndarray, shape (P, Q)
        E[u_i v_j].
    variances : pair of ndarrays, shapes (P,) and (Q,), optional
        E[u_i^2] and E[v_j^2]; by default u = v (P = Q), with the diagonal of `covariance`.

    Returns
    -------
    values, slopes : ndarray, shape (P, Q)

    Raises
    ------
    ValueError
        If variances have no product in double precision, or phi(sigma z) is so steep that a tenth of E[phi'^2] is not resolved.
    """
    rows, columns = (np.diagonal(covariance),) * 2 if variances is None else variances
    largest = max(np.max(rows), np.max(columns))
    if not largest < _LARGEST:
        raise ValueError(f"x must be smaller, or weights: preactivations of variance {largest:.3g} have no product in double precision")
    if activation.negative_slope is not None:
        return _homogeneous(activation.negative_slope, covariance, rows, columns)
    if activation.evaluate is ACTIVATIONS["erf"].evaluate:
        return _erf(covariance, rows, columns)
    return _mehler(activation, covariance, rows, columns)


def _homogeneous(slope, covariance, rows, columns):
    """With theta = 2 atan2(|u - v|, |u + v|) for the unit vectors u and v; sqrt(s s) = s in floating point keeps it exact at u = +-v."""
    scale = np.sqrt(np.multiply.outer(rows, columns))
    resolution = 8 * np.finfo(float).eps * scale
    below, above = scale - covariance, scale + covariance
    below[below <= resolution] = 0.0
    above[above <= resolution] = 0.0
    theta = 2 * np.arctan2(np.sqrt(below), np.sqrt(above))
    even, odd = (1 + slope) / 2, (1 - slope) / 2
    values = even**2 * covariance + odd**2 * (2 / np.pi) * (np.sqrt(below * above) + (np.pi / 2 - theta) * covariance)
    slopes = even**2 + odd**2 * (1 - 2 / np.pi * theta)
    at_zero = np.where(np.asarray(rows) > 0, even, slope), np.where(np.asarray(columns) > 0, even, slope)
    return values, np.where(scale > 0, slopes, np.multiply.outer(*at_zero))


def _erf(covariance, rows, columns):
    scale = np.multiply.outer(1 + 2 * rows, 1 + 2 * columns)
    values = 2 / np.pi * np.arcsin(np.clip(2 * covariance / np.sqrt(scale), -1.0, 1.0))
    determinant = 1 + 2 * np.add.outer(rows, columns) + 4 * np.maximum(np.multiply.outer(rows, columns) - covariance**2, 0.0)
    return values, 4 / np.pi / np.sqrt(determinant)


def _mehler(activation, covariance, rows, columns):
    deviations, index = np.unique(np.sqrt(np.concatenate([rows, columns])), return_inverse=True)
    coefficients = _hermite_coefficients(activation, deviations)
    rows, columns = index[: len(rows)], index[len(rows) :]
    scale = np.multiply.outer(deviations[rows], deviations[columns])
    correlation = np.clip(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0), -1.0, 1.0)
    return _hermite_sums(correlation, rows, columns, *coefficients)


def _hermite_coefficients(activation, deviations):
    """a_n(sigma) of phi and of phi', shape (2, sigmas, n), with enough terms for a remainder below the tolerance.

    The integrals are sums over an equidistant grid, exact to rounding once it resolves the product of the integrands, whose
    wave numbers are at most about 2 sqrt(terms).
    """
    terms = 64
    while True:
        spacing = 2 * np.pi / (3 * np.sqrt(terms) + 20) / (1 if activation.smooth else 8)
        count = int(np.ceil(_RANGE / spacing))
        z = spacing * np.arange(-count, count + 1)
        weights = spacing / np.sqrt(2 * np.pi) * np.exp(-0.5 * z * z)
        h = np.multiply.outer(deviations, z)
        functions = np.empty((2, *h.shape))
        activation.evaluate(h, *functions)
        moments = functions**2 @ weights
        coefficients = np.concatenate([functions @ chunk.T for chunk in _hermite_chunks(z, weights, terms)], axis=-1)
        remainders = moments - np.sum(coefficients**2, axis=-1)
        if np.all(remainders <= _TOLERANCE * moments) or terms == _MAX_TERMS:
            break
        terms *= 2
    if np.any(remainders > _UNRESOLVED * moments):
        raise ValueError(
            f"x must be smaller: preactivations of standard deviation {deviations.max():.3g} are too large for the expectations of "
            f"activation {activation.name!r}, which is a step on their scale"
        )
    return coefficients


def _hermite_chunks(z, weights, terms):
    """Iterator over blocks of rows weights(z) He_n(z), n < terms, of normalised Hermite polynomials."""
    previous, current = np.zeros_like(z), weights
    for start in range(0, terms, _CHUNK):
        chunk = np.empty((min(_CHUNK, terms - start), len(z)))
        for row, n in zip(chunk, range(start, terms)):
            row[:] = current
            previous, current = current, (z * current - np.sqrt(n) * previous) / np.sqrt(n + 1)
        yield chunk


@kernel
def _hermite_sums(correlation, rows, columns, values, slopes):
    """Mehler's sums of phi and phi'; terms with |rho|^n < 1e-15 are left out."""
    terms = values.shape[1]
    sums = np.empty((2, *correlation.shape))
    for i in range(correlation.shape[0]):
        p = rows[i]
        for j in range(correlation.shape[1]):
            q, rho = columns[j], correlation[i, j]
            count = terms
            if rho == 0.0:
                count = 1
            elif abs(rho) < 1.0:
                count = min(terms, 1 + int(-34.6 / np.log(abs(rho))))
            power, value, slope = 1.0, 0.0, 0.0
            for n in range(count):
                value += power * (values[p, n] * values[q, n])
                slope += power * (slopes[p, n] * slopes[q, n])
                power *= rho
            sums[0, i, j] = value
            sums[1, i, j] = slope
    return sums[0], sums[1]
