"""Everything that a trajectory holds in one figure."""

import matplotlib.pyplot as plt
import numpy as np

from ..curves import function_name, losses, one_output
from ..ensemble import Ensemble
from ..function_trajectory import FunctionTrajectory
from ..kernel_trajectory import KernelTrajectory
from ..linear_trajectory import LinearTrajectory
from ..specification import check_type
from .beside import check_beside
from .dynamics import kernels, loss
from .evolution import alignment
from .functions import logits, predictions, tangent_kernel
from .style import STYLE


def overview(trajectory, ensemble=None):
    """One figure of a trajectory, and of finite networks beside it.

    Of a deep linear network its losses, and the correlations of h and g in every layer; of a function on a data set its losses, or the
    size of the function where it has none, the function at some samples or, of several outputs, its size, and the tangent kernel if it
    was tracked.

    Of a network that learns features its losses, the function at some samples (of several outputs its size), and where kernels were
    tracked their alignment with the labels and the kernels of every layer.

    Parameters
    ----------
    trajectory : LinearTrajectory or FunctionTrajectory
    ensemble : Ensemble, optional
        Networks of the same problem; whatever they recorded is drawn with the theory of it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If there is no such figure, or the ensemble is of another problem.

    Examples
    --------
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20), progress=False)
    >>> figure = dmft.plot.overview(trajectory)
    """
    check_type("trajectory", trajectory, (LinearTrajectory, FunctionTrajectory))
    if ensemble is not None:
        check_beside(trajectory, ensemble, Ensemble, ("network", "data", "training"))
    if not isinstance(trajectory, LinearTrajectory):
        trajectory, ensemble = one_output(trajectory), ensemble and one_output(ensemble)
    with plt.style.context(STYLE):
        draw = {LinearTrajectory: _of_linear, KernelTrajectory: _of_kernels}.get(type(trajectory), _of_function)
        return draw(trajectory, ensemble)


def _of_linear(trajectory, ensemble):
    depth = trajectory.network.hidden_states
    figure = plt.figure(figsize=(3.4 + 2.0 * depth, 3.6))
    left, right = figure.subfigures(1, 2, width_ratios=(3.4, 2.0 * depth))
    loss(trajectory, ensemble, ax=left.subplots())
    kernels(trajectory, axes=right.subplots(2, depth))
    return figure


def _of_function(trajectory, ensemble):
    tracked = trajectory.tangent_grams is not None
    widths = (5.8, 4.4) if tracked else (5.8,)
    figure = plt.figure(figsize=(sum(widths), 2.6))
    left, *right = figure.subfigures(1, len(widths), width_ratios=widths, squeeze=False)[0]
    first, second = left.subplots(1, 2)
    (loss if losses(trajectory) else logits)(trajectory, ensemble, ax=first)
    (logits if trajectory.predictions.ndim > 2 else predictions)(trajectory, ensemble, ax=second)
    if tracked:
        beside = ensemble if ensemble is not None and ensemble.tangent_grams is not None else None
        tangent_kernel(trajectory, beside, axes=right[0].subplots(1, 2))
    return figure


def _of_kernels(trajectory, ensemble):
    depth, tracked = trajectory.network.depth, trajectory.feature_grams is not None
    aligned = tracked and np.any(trajectory.data.targets)
    beside = ensemble if ensemble is not None and ensemble.feature_kernels is not None else None
    figure = plt.figure(figsize=(3.4 + (2.0 * depth + 0.2) * tracked, 1.9 * (2 + aligned)))
    left, *right = figure.subfigures(1, 1 + tracked, width_ratios=(3.4, 2.0 * depth + 0.2)[: 1 + tracked], squeeze=False)[0]
    first, second, *third = left.subplots(2 + aligned, 1, sharex=True)
    loss(trajectory, ensemble, ax=first)
    (predictions if trajectory.data.y.ndim == 1 else logits)(trajectory, ensemble, ax=second)
    second.set_ylabel(function_name(trajectory.options["loss"]))
    if aligned:
        alignment(trajectory, beside, ax=third[0])
    if tracked:
        kernels(trajectory, beside, axes=right[0].subplots(3, depth))
    for ax in (first, second)[: 1 + aligned]:
        ax.set_xlabel("")
    return figure
