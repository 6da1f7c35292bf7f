"""Any linear optimizer as a memory of its gradients: W(t) = d(t) W(0) + sum_{s<t} kappa(t, s) G(s).

This is the only place where the optimizer enters the linear theories (docs/theory/deep_linear.md, section 2).
"""

import numpy as np


def memory_kernel(learning_rates, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False):
    """Response of the weights to their initial value and to the gradient of every step.

    The optimizer is run on scalars, all unit impulses side by side: column s of the buffer follows the impulse G(s) = 1,
    and the last column the initial value W(0) = 1. Plain steps just add up, kappa(t, s) = eta_s.

    Parameters
    ----------
    learning_rates : ndarray, shape (steps,)
    momentum, nesterov, weight_decay, decoupled
        As in `dmft.GradientDescent`; the order of operations is stated there.

    Returns
    -------
    d : ndarray, shape (T,)
        T = steps + 1; row t is the weight before step t.
    kappa : ndarray, shape (T, T)
        Strictly lower triangular.
    """
    steps = len(learning_rates)
    if momentum == 0.0 and weight_decay == 0.0:
        return np.ones(steps + 1), np.tril(np.broadcast_to(np.append(learning_rates, 0.0), (steps + 1, steps + 1)), -1)
    weights = np.zeros((steps + 1, steps + 2))
    weights[0, -1] = 1.0
    buffer = np.zeros(steps + 2)
    for t, rate in enumerate(learning_rates):
        known = weights[t]
        gradient = np.zeros(steps + 2) if decoupled else -weight_decay * known
        gradient[t] += 1.0
        buffer *= momentum
        buffer += gradient
        kept = 1.0 - rate * weight_decay if decoupled else 1.0
        weights[t + 1] = kept * known + rate * (gradient + momentum * buffer if nesterov else buffer)
    return weights[:, -1].copy(), np.ascontiguousarray(weights[:, :-1])
