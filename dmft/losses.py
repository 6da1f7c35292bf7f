"""Loss functions: their values here, their derivatives as `derivations.losses` derives them."""

from functools import cache

import numpy as np
from scipy import special

from . import checks

#: Mean over the last axis of the loss at label y and logit z; for "mse" without the factor 1/2 that its derivative z - y has.
MEAN_LOSSES = {
    "logistic": lambda y, z: np.logaddexp(0.0, -y * z).mean(axis=-1),
    "hinge": lambda y, z: np.maximum(0.0, 1.0 - y * z).mean(axis=-1),
    "mse": lambda y, z: ((y - z) ** 2).mean(axis=-1),
}

#: The same at labels and logits of shape (P, C), the mean being over the P samples; "mse" is summed over outputs.
OUTPUT_LOSSES = {
    "logistic": lambda y, z: np.logaddexp(0.0, -y * z).mean(),
    "hinge": lambda y, z: np.maximum(0.0, 1.0 - y * z).mean(),
    "mse": lambda y, z: ((y - z) ** 2).sum(axis=-1).mean(),
    "softmax": lambda y, z: (special.logsumexp(z, axis=-1) - (y * z).sum(axis=-1)).mean(),
}


def derivative(expression):
    """Function (y, z) of the derivative of a loss, given by `derivations.losses` as a sympy expression; a softmax is over the last axis."""
    import sympy

    from derivations.losses import LABEL, LOGIT

    function = sympy.lambdify((LABEL, LOGIT), expression, modules=[{"softmax": lambda z: special.softmax(z, axis=-1)}, "numpy"])

    def evaluated(y, z):
        with np.errstate(over="ignore"):
            return np.broadcast_to(function(y, z), np.shape(z))

    return evaluated


def check(loss, data, outputs):
    """Raise ValueError unless `loss` is known and the labels of a `Dataset` fit it in a network with this number of outputs."""
    checks.choice("loss", loss, tuple(OUTPUT_LOSSES))
    if loss == "softmax" and outputs == 1:
        raise ValueError("loss='softmax' needs a network with outputs >= 2; got outputs=1. For labels -1 and +1 take 'logistic'")
    if loss in ("logistic", "hinge") and outputs > 1:
        raise ValueError(f"loss={loss!r} needs a network with outputs=1; got outputs={outputs}. For one-hot labels take 'softmax'")
    for name, labels in (("y", data.y), ("test_y", data.test_y)):
        if labels is None:
            continue
        if labels.reshape(len(labels), -1).shape[1] != outputs:
            shape = f"(., {outputs})" if outputs > 1 else "(.,)"
            raise ValueError(f"{name} must have shape {shape}, a label per output of the network; got {labels.shape}")
        if loss in ("logistic", "hinge") and not np.all(np.abs(labels) == 1):
            raise ValueError(f"{name} must be -1 or +1 for loss={loss!r}; got {labels[np.abs(labels) != 1][0]:g}. Other labels: loss='mse'")
        if loss == "softmax" and not (np.isin(labels, (0, 1)).all() and np.all(labels.sum(axis=1) == 1)):
            raise ValueError(f"{name} must be one-hot for loss='softmax': in every row a single 1, else 0. Other labels: loss='mse'")


@cache
def of_outputs(loss):
    """Derivative by the logits and mean over the samples of a loss, two functions (y, z) of labels and logits of shape (P, C)."""
    from derivations.losses import LOSSES

    return derivative(LOSSES[loss]().finite), OUTPUT_LOSSES[loss]
