"""Gradient flow of one finite deep linear network, dW/dt = G - lambda W, by explicit Runge-Kutta steps of controlled error.

Bogacki and Shampine's pair of orders 3 and 2: the error of a step is held below `TOLERANCE` of the weights, in operator norm, and as it
grows where a step is too long for the fastest direction, control of the error is control of stability. Weights are linear
combinations of the initial ones and of gradients, which `finite_network.LowRankLayers` keeps as factors.
"""

import numpy as np

from .finite_network import LowRankLayers, Passes

TOLERANCE = 1e-5
#: Along the negative real axis.
STABILITY_LIMIT = 2.51

#: Weights of the derivatives at the start, the middle, three quarters and the end: of the stages and of the error.
_STAGES = ((0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9))
_ERROR = (-5 / 72, 1 / 12, 1 / 9, -1 / 8)
_PLAIN = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "decoupled": False}


def integrate(matrices, readout, richness, target, eigenvalues, data_gradient, weight_decay, times, rank, branch=None):
    """Iterator over the losses of one network at the output times.

    Parameters
    ----------
    matrices, readout, richness, target, eigenvalues, data_gradient, branch
        As in `finite_network.march`.
    weight_decay : float
    times : ndarray (T,)
        Output times, increasing from 0.
    rank : int
        As in `LowRankLayers`, at least 4 C.

    Yields
    ------
    test, train : float
    """
    layers = LowRankLayers(matrices, _PLAIN, rank)
    passes = Passes(layers, richness, target, branch)
    outputs, sizes = len(readout), [max(matrix.shape) ** 0.5 for matrix in matrices]

    def derivative(coordinates, readout):
        """Coordinates of dW/dt, the derivative of the readout, and the losses."""
        layers.weight_coordinates = coordinates
        g, v = passes.backward(readout)
        u, train = data_gradient(v)
        factors, gradient = passes.gradients(g, u)
        found = layers.added(factors) - weight_decay * coordinates, gradient - weight_decay * readout
        return found, (np.sum(eigenvalues * v**2) / target.shape[1], train)

    def error(coordinates, readout):
        """Size of a change of the weights, relative to that of the initial ones."""
        used = np.flatnonzero(coordinates[2:])
        low = coordinates[2 + used]
        grams = ((left[used] @ left[used].T) * (right[used] @ right[used].T) for left, right in zip(layers.left, layers.right))
        norms = [np.sqrt(abs(low @ gram @ low)) / size for gram, size in zip(grams, sizes)]
        return max(*norms, abs(coordinates[0]), np.sqrt(np.mean(readout**2)))

    now, at = 0.0, layers.weight_coordinates
    first, losses = derivative(at, readout)
    step = (times[1] - times[0]) / 8.0
    yield losses
    for stop in times[1:]:
        while now < stop:
            if layers.count + 3 * outputs > rank:
                layers.weight_coordinates = at
                layers.flush()
                at = layers.weight_coordinates
                first, losses = derivative(at, readout)
            length = min(step, stop - now)
            known, slopes = layers.count, [first]
            for weights in _STAGES:
                moved = [x + length * sum(w * s[i] for w, s in zip(weights, slopes)) for i, x in enumerate((at, readout))]
                slope, ahead = derivative(*moved)
                slopes.append(slope)
            size = error(*(length * sum(w * s[i] for w, s in zip(_ERROR, slopes)) for i in range(2)))
            if size <= TOLERANCE:
                now, (at, readout), first, losses = now + length if length < stop - now else stop, moved, slope, ahead
            else:
                layers.count = known
            if size > TOLERANCE or length == step:
                step = length * min(4.0, max(0.2, 0.9 * (TOLERANCE / max(size, 1e-300)) ** (1 / 3)))
        yield losses
