"""Theory against finite networks: a verdict that says how it was reached."""

from . import checks
from .comparisons import functions, linear
from .comparisons.fit import checked_ensembles
from .comparisons.functions import FunctionVerdict
from .comparisons.linear import LossComparison, Verdict, near_edge
from .function_trajectory import FunctionTrajectory
from .specification import check_type
from .trajectory import Trajectory

__all__ = ["FunctionVerdict", "LossComparison", "Verdict", "compare", "near_edge"]


def compare(trajectory, ensemble, *, dims=None, threshold=4.0, progress=True, workers=1):
    """Hold a solved theory against simulated networks.

    Of deep linear networks, the mean over seeds of both losses is compared with the theory at every time, in units of its standard
    error. With more than one size the verdict is reached at infinite D: the means are fitted by limit + slope / D at every time,
    weighted by their errors.

    Of networks on a data set, every network is compared with its own theory, solved again from the network's initial function where
    the theory depends on it; see `dmft.comparisons.functions`. A trajectory solved with ``width=d`` needs networks of width d; one of
    infinite width is compared as it is. Ensembles of several widths, a trajectory of ``width=d`` solved again at each, are extrapolated
    to infinite width. Of an `MLP`, kernels that the networks recorded (``track="kernels"``) are compared too,
    layer by layer; networks are to be centred, as they are by default, for the theory starts from zero.

    Parameters
    ----------
    trajectory : Trajectory
    ensemble : Ensemble or sequence of Ensemble
        Simulations of the same problem, two seeds or more each. Of several sizes the first is the compared one; simulate them with
        different `rng`, as their errors are taken to be independent.
    dims : sequence of int, optional
        DeepLinear only: further sizes, simulated here, each with at least as many seeds as the (first) ensemble and more where D is
        smaller, so that standard errors are alike. A quarter of its size is a good choice. Their random streams are fixed by the size.
    threshold : float
        Theory and simulation agree when the deciding |z| are below it.
    progress : bool
        Show progress bars of what is simulated or solved here.
    workers : int
        Processes that share the seeds of further sizes.

    Returns
    -------
    Verdict or FunctionVerdict

    Raises
    ------
    ValueError, TypeError
        If the arguments are no fit, above all if trajectory and ensemble are of different problems; the message names what differs.

    Warns
    -----
    EdgeOfStabilityWarning
        If the theory of a deep linear network is unstable at 2.5 times the learning rate: finite networks then approach it slowly.

    Examples
    --------
    >>> problem = dmft.DeepLinear(depth=1), dmft.GaussianData(2.0), dmft.GradientDescent(0.1, 10)
    >>> networks = dmft.simulate(*problem, dim=100, seeds=8, progress=False)
    >>> verdict = dmft.compare(dmft.solve(*problem, progress=False), networks, progress=False)
    >>> print(verdict)
    Theory and simulation ...
    """
    check_type("trajectory", trajectory, (Trajectory,))
    ensembles = checked_ensembles(trajectory, ensemble)
    threshold = checks.positive("threshold", threshold)
    if isinstance(trajectory, FunctionTrajectory):
        if dims is not None:
            raise ValueError(
                f"dims must be None for networks on a data set, whose sizes are widths: give ensembles of several widths; got {dims!r}"
            )
        return functions.compare(trajectory, ensembles, threshold, checks.flag("progress", progress))
    return linear.compare(trajectory, ensembles, dims, threshold, progress, workers)
