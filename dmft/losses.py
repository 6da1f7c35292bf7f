"""Loss functions of networks with one output: their values here, their derivatives as `derivations.losses` derives them."""

import numpy as np

from . import checks

#: Mean over the last axis of the loss at label y and logit z; for "mse" without the factor 1/2 that its derivative z - y has.
MEAN_LOSSES = {
    "logistic": lambda y, z: np.logaddexp(0.0, -y * z).mean(axis=-1),
    "hinge": lambda y, z: np.maximum(0.0, 1.0 - y * z).mean(axis=-1),
    "mse": lambda y, z: ((y - z) ** 2).mean(axis=-1),
}


def check(loss, data):
    """Raise ValueError unless `loss` is known and the labels of a `Dataset` fit it."""
    if loss == "softmax":
        raise ValueError(f"loss must be one of {', '.join(map(repr, MEAN_LOSSES))}; 'softmax' needs several outputs, and a ShallowNet has one")
    checks.choice("loss", loss, tuple(MEAN_LOSSES))
    for name, labels in (("y", data.y), ("test_y", data.test_y)):
        if labels is None:
            continue
        if labels.ndim != 1:
            raise ValueError(f"{name} must have shape (P,), as a ShallowNet has one output; got {labels.shape}")
        if loss != "mse" and not np.all(np.abs(labels) == 1):
            raise ValueError(f"{name} must be -1 or +1 for loss={loss!r}; got {labels[np.abs(labels) != 1][0]:g}. Other labels: loss='mse'")


def derivative(expression):
    """Function (y, z) of the derivative of a loss, given by `derivations.losses` as a sympy expression."""
    import sympy

    from derivations.losses import LABEL, LOGIT

    function = sympy.lambdify((LABEL, LOGIT), expression, modules="numpy")

    def evaluated(y, z):
        with np.errstate(over="ignore"):
            return np.broadcast_to(function(y, z), np.shape(z))

    return evaluated
