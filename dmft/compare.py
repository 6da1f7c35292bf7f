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


def compare(trajectory, ensemble, *, dims=None, level=0.01, progress=True, workers=1):
    """Hold a solved theory against simulated networks.

    Compared are a few numbers that the theory fixes, a row of the verdict's `table` each: the mean over seeds of network - theory, relative
    to the theory, its standard error, the smallest deviation that as many seeds would find, and the largest that they leave possible.
    The outcome is "differs" if a row does by more than chance and the bias of finite size; "agrees" if none does and the rows that
    decide, amplitude of the function and final losses, rule out a deviation of 10%; else "cannot tell". See `dmft.comparisons.rows`.

    Of deep linear networks both losses are compared (`dmft.comparisons.linear`). With more than one size the rows are those of infinite D,
    by the fit limit + slope / D.

    Of networks on a data set (`dmft.comparisons.functions`), every network is compared with its own theory, solved again from the
    network's initial function where the theory depends on it. A trajectory solved with ``width=d`` needs networks of width d; one of
    infinite width is compared as it is. Ensembles of several widths, a trajectory of ``width=d`` solved again at each, are extrapolated
    to infinite width. Kernels that both have recorded (``track="kernels"``) are compared too; networks are to be centred, as they are by
    default, for the theory of an `MLP` starts from zero.

    Parameters
    ----------
    trajectory : Trajectory
    ensemble : Ensemble or sequence of Ensemble
        Simulations of the same problem, two seeds or more each. Of several sizes the first is the compared one; simulate them with
        different `rng`, as their errors are taken to be independent.
    dims : sequence of int, optional
        Deep linear networks only: further sizes, simulated here, each with at least as many seeds as the (first) ensemble and more where
        D is smaller, so that standard errors are alike. A quarter of its size is a good choice. Their random streams are fixed by the size.
    level : float
        Chance, below 1/2, that a right theory is said to differ, for all rows of the verdict together; and that one which is wrong by
        10% in a row that decides is said to agree.
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

    Interrupted
        After Ctrl-C; its `result` is a list of what was simulated or solved here by then. Ensembles of it can be given as `ensemble`.

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
    Theory and networks: cannot tell, a deviation of 10% is not ruled out
    ...
    >>> verdict.row("train loss, change").differs
    False
    """
    check_type("trajectory", trajectory, (Trajectory,))
    ensembles = checked_ensembles(trajectory, ensemble)
    level = checks.number("level", level, "a number between 0 and 0.5", lambda v: 0 < v < 0.5)
    if isinstance(trajectory, FunctionTrajectory):
        if dims is not None:
            raise ValueError(
                f"dims must be None for networks on a data set, whose sizes are widths: give ensembles of several widths; got {checks.shown(dims)}"
            )
        return functions.compare(trajectory, ensembles, level, checks.flag("progress", progress))
    return linear.compare(trajectory, ensembles, dims, level, progress, workers)
