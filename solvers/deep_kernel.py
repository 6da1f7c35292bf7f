"""Kernels of infinitely wide networks at initialization, layer by layer, and their neural tangent kernel.

Source: docs/theory/deep_parameterizations.md, section 2.6; arXiv 2011.14522. The logits of the kernel regime are marched by
`solvers.shallow.kernel_march`.
"""

import numpy as np

from .gaussian import expectations


def initial_kernels(activation, gram, scale, depth):
    """Kernels of activations and slopes.

    Parameters
    ----------
    activation : solvers.activations.Activation
    gram : ndarray, shape (n, n)
        x.x' of the points.
    scale : float
        Standard deviation s of the weights: h^l has covariance s^2 C^{l-1}.
    depth : int
        L.

    Returns
    -------
    features : list of L + 1 ndarrays
        C^0 = gram, C^l = E[phi(h^l) phi(h^l)].
    slopes : list of L ndarrays
        E[phi'(h^l) phi'(h^l)].
    """
    features, slopes = [gram], []
    for _ in range(depth):
        values, slope = expectations(activation, scale**2 * features[-1])
        features.append(values)
        slopes.append(slope)
    return features, slopes


def tangent_kernel(features, slopes, scale, layers):
    """Sum over `layers`, 1 ... L + 1, of G^l C^{l-1}: each with weight one, however its matrix is parameterized.

    G^{L+1} = 1 and G^l = s^2 G^{l+1} E[phi'(h^l) phi'(h^l)] without s^2 for l = L, as readout weights have variance one.
    """
    gradient, total = np.ones_like(features[0]), np.zeros_like(features[0])
    for layer in range(len(features), 0, -1):
        if layer in layers:
            total += gradient * features[layer - 1]
        if layer > 1:
            gradient = gradient * slopes[layer - 2] * (1.0 if layer == len(features) else scale**2)
    return total
