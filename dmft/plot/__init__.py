"""Figures of trajectories, ensembles and verdicts. Functions draw into the axes they are given, or make a figure; none shows it."""

from .coordinates import coordinates
from .dynamics import agreement, deviations, kernels, loss, zscores
from .evolution import alignment
from .functions import logits, predictions, tangent_kernel
from .overviews import overview
from .parameterizations import stable_polytope
from .phase import phase_diagram
from .style import STYLE

__all__ = [
    "STYLE",
    "agreement",
    "alignment",
    "coordinates",
    "deviations",
    "kernels",
    "logits",
    "loss",
    "overview",
    "phase_diagram",
    "predictions",
    "stable_polytope",
    "tangent_kernel",
    "zscores",
]
