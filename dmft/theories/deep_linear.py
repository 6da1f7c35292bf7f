"""Deep linear networks at proportional width, data and dimension: from the specification to the arrays of the solvers.

Source: arXiv 2502.02531; theory/deep_linear.md, sections 0-3. D0 = D: all ratios are per input dimension.
"""

import math

import numpy as np

from ..networks import DeepLinear
from ..specification import check_type
from ..data import check_data
from ..training import GradientDescent, MinibatchSGD, OnlineSGD, check_combination

#: Marching stops where the test loss exceeds this multiple of the initial one; rich catapults that come back stay below
#: (theory/deep_linear.md, section 7).
DIVERGENCE_FACTOR = 1e3


def check(network, data, training):
    """Raise TypeError or ValueError, naming the argument, unless this theory covers the problem."""
    check_type("network", network, (DeepLinear,))
    check_data(data)
    check_type("training", training, (GradientDescent, OnlineSGD, MinibatchSGD))
    check_combination(data, training)
    data.spectrum(network.outputs)


def problem(network, data, training):
    """The `solvers.linear_problem.LinearProblem` of a checked specification."""
    from solvers.linear_problem import LinearProblem
    from solvers.memory_kernel import memory_kernel

    spectrum = data.spectrum(network.outputs)
    ratios = np.array(network.width_ratios)
    infinite = math.isinf(ratios[0])
    richness_squared = 0.0 if infinite and network.parameterization == "ntk" else network.richness**2
    online = isinstance(training, OnlineSGD)
    decay, memory = memory_kernel(training.learning_rates, training.momentum, training.nesterov, training.weight_decay, training.decoupled)
    catapult = max(1.0, 0.0 if infinite else ratios[-1], 1.0 / richness_squared if richness_squared else 0.0)
    return LinearProblem(
        decay=decay,
        memory=memory,
        coupling=richness_squared,
        initial_variance=network.initial_variance,
        width_steps=np.ones(network.depth - 1) if infinite else ratios[1:] / ratios[:-1],
        first_over_last=1.0 if infinite else ratios[0] / ratios[-1],
        eigenvalues=spectrum.eigenvalues,
        fractions=spectrum.fractions,
        target=np.ascontiguousarray(spectrum.target),
        noise=np.ascontiguousarray(spectrum.noise),
        sample_ratio=float(training.batch_ratio if online else data.sample_ratio),
        online=online,
        batch_excess=1.0 / training.batch_fraction - 1.0 if isinstance(training, MinibatchSGD) else 0.0,
        divergence_factor=DIVERGENCE_FACTOR * catapult,
    )

