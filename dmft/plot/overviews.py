"""Everything that a trajectory holds in one figure."""

import matplotlib.pyplot as plt

from ..curves import losses
from ..function_trajectory import FunctionTrajectory
from ..linear_trajectory import LinearTrajectory
from ..specification import check_type
from .dynamics import kernels, loss
from .functions import logits, predictions, tangent_kernel
from .style import STYLE


def overview(trajectory):
    """One figure of a trajectory.

    Of a deep linear network its losses, and the correlations of h and g in every layer; of a function on a data set its losses, or the
    size of its logits where it has none, logits of some samples or, of several outputs, their size, and the tangent kernel if it was
    tracked.

    Returns
    -------
    matplotlib.figure.Figure
    """
    check_type("trajectory", trajectory, (LinearTrajectory, FunctionTrajectory))
    with plt.style.context(STYLE):
        return (_of_function if isinstance(trajectory, FunctionTrajectory) else _of_linear)(trajectory)


def _of_linear(trajectory):
    depth = trajectory.network.depth
    figure = plt.figure(figsize=(3.4 + 2.0 * depth, 3.6))
    left, right = figure.subfigures(1, 2, width_ratios=(3.4, 2.0 * depth))
    loss(trajectory, ax=left.subplots())
    kernels(trajectory, axes=right.subplots(2, depth))
    return figure


def _of_function(trajectory):
    tracked = trajectory.tangent_kernel is not None
    widths = (5.8, 4.4) if tracked else (5.8,)
    figure = plt.figure(figsize=(sum(widths), 2.6))
    left, *right = figure.subfigures(1, len(widths), width_ratios=widths, squeeze=False)[0]
    first, second = left.subplots(1, 2)
    (loss if losses(trajectory) else logits)(trajectory, ax=first)
    (logits if trajectory.predictions.ndim > 2 else predictions)(trajectory, ax=second)
    if tracked:
        tangent_kernel(trajectory, axes=right[0].subplots(1, 2))
    return figure
