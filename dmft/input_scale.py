"""The size of inputs that each network takes, and a warning where others make its training useless."""

import math
import warnings

import numpy as np

from .errors import ScaleWarning
from .networks import MLP, DeepNet, ShallowNet

#: |x| that a network takes, for inputs of D dimensions, and why.
_NORMS = {
    MLP: (math.sqrt, "sqrt(D), as h = W x / sqrt(D)"),
    DeepNet: (lambda dim: 1.0, "1, as h = W x"),
    ShallowNet: (lambda dim: 1.0, "1, as h = w . x"),
}
#: Factor by which |x| may be off before it is mentioned.
FACTOR = 3.0
#: Change of the function in the first step, and in the whole training at that pace, over the scale of the labels.
LARGEST_STEP, SMALLEST_TRAINING = 3.0, 0.5


def check(trajectory):
    """Warn, with a `ScaleWarning`, where inputs of a wrong size make a trajectory on a data set useless; see `Dataset`.

    It costs nothing, as the first two rows tell. Where logits grow or vanish with the width, the labels have no scale for them.
    """
    if type(trajectory.network) not in _NORMS or trajectory.rows < 2 or trajectory.train_loss is None:
        return
    data, rates = trajectory.data, trajectory.training.learning_rates
    norm, wanted = math.sqrt(np.mean(np.sum(data.x**2, axis=1))), _NORMS[type(trajectory.network)][0](data.x.shape[1])
    labels = math.sqrt(np.mean(data.y**2)) if trajectory.options["loss"] == "mse" else 1.0
    if 1 / FACTOR <= norm / wanted <= FACTOR or norm == 0 or labels == 0 or rates[0] == 0:
        return
    first, second = trajectory.predictions[:2]
    step = math.sqrt(np.mean((second - first) ** 2)) / labels if trajectory.finished > 1 else math.inf
    if step > LARGEST_STEP:
        effect = f"the first step moves the function by {step:.2g} times the scale of the labels"
    elif step * rates.sum() < SMALLEST_TRAINING * rates[0]:
        effect = f"the first step moves the function by {step:.2g} of the scale of the labels, and training does next to nothing"
    else:
        return
    warnings.warn(
        f"x has a root mean square norm |x| = {norm:.3g}, but {type(trajectory.network).__name__} takes |x| about "
        f"{_NORMS[type(trajectory.network)][1]}, here {wanted:.3g}: {effect}. Multiply x by {wanted / norm:.3g}",
        ScaleWarning,
        stacklevel=3,
    )
