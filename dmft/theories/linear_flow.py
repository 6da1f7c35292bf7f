"""Deep linear networks under gradient flow; what `deep_linear` hands over. Source: docs/theory/deep_linear.md, section 5."""

import time

import numpy as np

from ..errors import SolverError
from ..linear_trajectory import KERNELS, LinearTrajectory
from ..trajectory import Status

#: Rows of the integration for every output time, as for smooth solutions.
ROWS_PER_TIME = 4


def check(method):
    """Raise ValueError, naming the argument, unless a flow is solved by this method."""
    if method != "causal":
        raise ValueError(f"method must be 'causal' for a GradientFlow, which is solved by fixed points, step by step; got {method!r}")


def memory_estimate(layers, modes, outputs, rows, residual):
    """Peak memory in bytes of the arrays: two integrations, with n = 4 T C rows and with n / 2, of as many matrices as the fixed point has.

    Steps that have to be shorter than the output times ask for add to it.
    """
    n = ROWS_PER_TIME * rows * outputs
    return int(8 * 1.25 * n**2 * (8 * layers * (1 + 2 * residual) + modes + 18))


def march(stated, network, data, training, start=None):
    """Iterate over the trajectory of a `solvers.linear_problem.LinearProblem`, from output time to output time.

    The times of `start`, a trajectory of a shorter flow, are solved again and not shown.
    """
    from solvers import gradient_flow

    began, times = time.perf_counter(), training.times
    known = 0.0 if start is None else start.times[start.finished - 1]
    try:
        for flow in gradient_flow.march(stated, times, training.weight_decay):
            finished = len(flow.loss_error)
            if times[finished - 1] < known:
                continue
            status = Status.COMPLETED if finished == len(times) else Status.INTERRUPTED
            report = {"elapsed": time.perf_counter() - began, "rows": flow.rows, "sweeps": flow.sweeps}
            report["loss_error"] = float(np.max(flow.loss_error))
            kernels = {name: getattr(flow.order, name) for name in KERNELS}
            losses = flow.order.test_loss, flow.order.train_loss
            yield LinearTrajectory(
                network, data, training, status, finished, *losses, kernels, loss_error=flow.loss_error, method="causal", report=report
            )
    except gradient_flow.NoConvergence as failure:
        raise SolverError(str(failure)) from failure
