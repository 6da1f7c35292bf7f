"""What all figures share."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .. import checks
from ..specification import check_type

STYLE = Path(__file__).parents[1] / "dmft.mplstyle"

#: Colours by role, of the Okabe-Ito palette.
TEST, TRAIN = "#0072B2", "#D55E00"
BY_NAME = {"test": TEST, "train": TRAIN}
#: Of the points with the lower and those with the higher label.
BY_LABEL = ("#0072B2", "#D55E00")
#: About as many moments in time get a marker.
MARKERS = 12


def axis(ax, **figure):
    """The axes to draw in: those of a new figure for None."""
    if ax is None:
        return plt.subplots(**figure)[1]
    check_type("ax", ax, (Axes,))
    return ax


def several_axes(axes, count, purpose):
    """`axes`, a sequence or an array of them, as an array of shape (count,)."""
    if isinstance(axes, Axes):
        axes = (axes,)
    given = axes.ravel() if isinstance(axes, np.ndarray) else axes
    given = checks.sequence("axes", given, f"{count} matplotlib axes, {purpose}")
    if len(given) != count:
        raise ValueError(f"axes must hold {count} axes, {purpose}; got {len(given)}")
    for i, ax in enumerate(given):
        check_type(f"axes[{i}]", ax, (Axes,))
    array = np.empty(count, dtype=object)
    array[:] = given
    return array
