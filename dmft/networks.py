"""Networks a user can state. The same object defines the infinite-size theory and the finite network that checks it."""

import math
from dataclasses import dataclass

from . import checks
from .specification import Specification


class _DerivedRichness(float):
    """The richness that the NTK parameterization implies, kept apart from a richness that the user states."""


@dataclass(frozen=True, eq=False, repr=False)
class DeepLinear(Specification):
    """Deep linear network of `depth` hidden layers at width proportional to the input dimension D.

    f_c(x) = sqrt(D) / (gamma N_L) w_c . h^L,  h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l h^l / sqrt(N_l), all weights N(0, 1);
    the raw learning rate is eta gamma^2 N_L. Source: arXiv 2502.02531; theory/deep_linear.md, section 0.

    Parameters
    ----------
    depth : int
        Number of hidden layers L >= 1 (L + 1 weight matrices).
    width_ratio : float or sequence of L floats
        nu_l = N_l / D, one for all hidden layers or one per layer; ``math.inf`` (for all layers) is the infinitely wide network.
    richness : float, optional
        gamma > 0, the output scale; small is lazy, large is feature learning. Default 1. Not together with ``parameterization="ntk"``.
    outputs : int
        Number of output channels C.
    parameterization : {"mup", "ntk"}
        "mup": richness of order one. "ntk": richness = nu_L**-1/2; at infinite width this is exactly the lazy limit.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.
    """

    depth: int
    width_ratio: float | tuple[float, ...] = 1.0
    richness: float | None = None
    outputs: int = 1
    parameterization: str = "mup"

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("depth", checks.integer("depth", self.depth, 1))
        put("outputs", checks.integer("outputs", self.outputs, 1))
        checks.choice("parameterization", self.parameterization, ("mup", "ntk"))
        put("width_ratio", self._checked_width_ratio())
        if self.parameterization == "ntk":
            if self.richness is not None and not isinstance(self.richness, _DerivedRichness):
                raise ValueError(
                    f"richness and parameterization='ntk' exclude each other (NTK means richness = nu_L**-1/2); got richness={self.richness!r}"
                )
            put("richness", _DerivedRichness(self.width_ratios[-1] ** -0.5))
        else:
            stated = None if isinstance(self.richness, _DerivedRichness) else self.richness
            put("richness", checks.positive("richness", 1.0 if stated is None else stated))

    def _checked_width_ratio(self):
        try:
            ratios = tuple(self.width_ratio)
        except TypeError:
            return checks.positive_or_inf("width_ratio", self.width_ratio)
        if isinstance(self.width_ratio, str):
            checks.fail("width_ratio", self.width_ratio, "a number > 0, math.inf, or one number per hidden layer", TypeError)
        if len(ratios) != self.depth:
            raise ValueError(f"width_ratio must be one number or one per hidden layer (depth = {self.depth}); got {len(ratios)} numbers")
        ratios = tuple(checks.positive_or_inf(f"width_ratio[{i}]", r) for i, r in enumerate(ratios))
        if any(map(math.isinf, ratios)) and not all(map(math.isinf, ratios)):
            raise ValueError(f"width_ratio must be finite for all layers or math.inf for all; got {ratios}")
        return ratios

    @property
    def width_ratios(self):
        """nu_1 ... nu_L as a tuple."""
        return self.width_ratio if isinstance(self.width_ratio, tuple) else (self.width_ratio,) * self.depth

    @property
    def initial_variance(self):
        """Variance of the initial function per unit of input power, 1 / (gamma^2 nu_L)."""
        if self.parameterization == "ntk":
            return 1.0
        return 1.0 / (self.richness**2 * self.width_ratios[-1])

    def to_dict(self):
        fields = super().to_dict()
        if self.parameterization == "ntk":
            fields["richness"] = None
        return fields
