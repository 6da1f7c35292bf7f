"""Networks a user can state. The same object defines the infinite-size theory and the finite network that checks it."""

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

import numpy as np

from . import activations, checks
from .specification import Specification


class _DerivedRichness(float):
    """The richness that the NTK parameterization implies, kept apart from a richness that the user states."""


class LinearNetwork:
    """What deep linear networks share: the checks of their output scale, and what the theory asks of any of them."""

    #: beta, what the branches of a residual network are multiplied with, and the shares of them below each state; None: a plain network.
    branch = layer_times = None

    def _check_scale(self):
        """Check outputs, parameterization and richness, given width ratios that are checked already."""

        def put(name, value):
            object.__setattr__(self, name, value)

        put("outputs", checks.integer("outputs", self.outputs, 1, checks.MOST_OUTPUTS))
        checks.choice("parameterization", self.parameterization, ("mup", "ntk"))
        if self.parameterization == "ntk":
            if self.richness is not None and not isinstance(self.richness, _DerivedRichness):
                raise ValueError(
                    f"richness and parameterization='ntk' exclude each other (NTK means richness = nu_L**-1/2); got richness={checks.shown(self.richness)}"
                )
            put("richness", _DerivedRichness(self.width_ratios[-1] ** -0.5))
        else:
            stated = None if isinstance(self.richness, _DerivedRichness) else self.richness
            put("richness", checks.positive("richness", 1.0 if stated is None else stated))

    @property
    def hidden_states(self):
        """Number L of hidden states whose functions a trajectory has: those with layer = 1 ... L."""
        return self.depth

    @property
    def width_ratios(self):
        """nu_1 ... nu_L as a tuple."""
        return self.width_ratio if isinstance(self.width_ratio, tuple) else (self.width_ratio,) * self.hidden_states

    @property
    def initial_variance(self):
        """1 / (gamma^2 nu_L): of a plain network the variance of the initial function per unit of input power."""
        if self.parameterization == "ntk":
            return 1.0
        return 1.0 / (self.richness**2 * self.width_ratios[-1])

    def to_dict(self):
        fields = super().to_dict()
        if self.parameterization == "ntk":
            fields["richness"] = None
        return fields


@dataclass(frozen=True, eq=False, repr=False)
class DeepLinear(LinearNetwork, Specification):
    """Deep linear network of `depth` hidden layers at width proportional to the input dimension D.

    f_c(x) = sqrt(D) / (gamma N_L) w_c . h^L,  h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l h^l / sqrt(N_l), all weights N(0, 1);
    the raw learning rate is eta gamma^2 N_L. Source: arXiv 2502.02531; docs/theory/deep_linear.md, section 0.

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

    Examples
    --------
    >>> dmft.DeepLinear(depth=2, width_ratio=(0.5, 2.0), richness=0.3).width_ratios
    (0.5, 2.0)
    >>> dmft.DeepLinear(depth=1, width_ratio=4.0, parameterization="ntk").richness
    0.5
    """

    depth: int
    width_ratio: float | tuple[float, ...] = 1.0
    richness: float | None = None
    outputs: int = 1
    parameterization: str = "mup"

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("depth", checks.integer("depth", self.depth, 1, checks.DEEPEST))
        put("width_ratio", self._checked_width_ratio())
        self._check_scale()

    def _checked_width_ratio(self):
        if isinstance(self.width_ratio, Real):
            return checks.positive_or_inf("width_ratio", self.width_ratio)
        ratios = checks.sequence("width_ratio", self.width_ratio, "a number > 0, math.inf, or one number per hidden layer")
        if len(ratios) != self.depth:
            raise ValueError(f"width_ratio must be one number or one per hidden layer (depth = {self.depth}); got {len(ratios)} numbers")
        ratios = tuple(checks.positive_or_inf(f"width_ratio[{i}]", r) for i, r in enumerate(ratios))
        if any(map(math.isinf, ratios)) and not all(map(math.isinf, ratios)):
            raise ValueError(f"width_ratio must be finite for all layers or math.inf for all; got {ratios}")
        return ratios


#: Layer times at which a trajectory of infinite depth has the functions of the hidden states: multiples of 1/8.
_LAYER_TIMES = 8


@dataclass(frozen=True, eq=False, repr=False)
class DeepLinearResNet(LinearNetwork, Specification):
    """Deep linear residual network of `depth` branches at width proportional to the input dimension D, or its limit of infinite depth.

    f_c(x) = sqrt(D) / (gamma N) w_c . h^L,  h^1 = W^0 x / sqrt(D),  h^{l+1} = h^l + beta W^l h^l / sqrt(N), l = 1 ... `depth`, all weights
    N(0, 1); beta = branch_scale * depth**-depth_exponent; the raw learning rate is eta gamma^2 N.
    Source: arXiv 2502.02531; docs/theory/deep_linear.md, section 4.

    Parameters
    ----------
    depth : int or math.inf
        Number of branches >= 1, one less than that of hidden states L; ``math.inf`` is the limit, which exists at depth_exponent = 1/2.
    width_ratio : float
        nu = N / D, of all hidden states; ``math.inf`` is the infinitely wide network.
    richness : float, optional
        gamma > 0, the output scale; small is lazy, large is feature learning. Default 1. Not together with ``parameterization="ntk"``.
    branch_scale : float
        beta_0 > 0.
    depth_exponent : float
        1/2: the initial function has a limit as depth grows; 0: constant branches.
    outputs : int
        Number of output channels C.
    parameterization : {"mup", "ntk"}
        "mup": richness of order one. "ntk": richness = nu**-1/2; at infinite width this is exactly the lazy limit.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> network = dmft.DeepLinearResNet(depth=4, width_ratio=0.5)
    >>> network.branch, network.hidden_states, network.layer_times
    (0.5, 5, array([0.  , 0.25, 0.5 , 0.75, 1.  ]))
    >>> dmft.DeepLinearResNet(depth=4, depth_exponent=0, branch_scale=0.3).branch
    0.3
    """

    depth: int | float
    width_ratio: float = 1.0
    richness: float | None = None
    branch_scale: float = 1.0
    depth_exponent: float = 0.5
    outputs: int = 1
    parameterization: str = "mup"

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("depth", checks.integer_or_inf("depth", self.depth, 1, checks.DEEPEST))
        put("width_ratio", checks.positive_or_inf("width_ratio", self.width_ratio))
        put("branch_scale", checks.positive("branch_scale", self.branch_scale))
        put("depth_exponent", checks.number("depth_exponent", self.depth_exponent, "a number from -10 to 10", lambda v: -10 <= v <= 10))
        if self.depth == math.inf and self.depth_exponent != 0.5:
            raise ValueError(
                "depth_exponent must be 1/2 with depth=math.inf: beta**2 * depth, the growth of signals over the whole depth, "
                f"has no other limit than 0 or infinity otherwise; got {self.depth_exponent:g}"
            )
        self._check_scale()
        growth = self.branch_scale**2 if self.depth == math.inf else self.depth * math.log1p(self.branch**2)
        if growth > math.log(checks.LARGEST):
            raise ValueError(
                f"branch_scale must be smaller: at the start signals grow over the depth by e^{growth / 2:.3g}; got {self.branch_scale:g}"
            )

    @property
    def branch(self):
        """beta, what branches are multiplied with; at infinite depth its limit 0."""
        return self.branch_scale * self.depth**-self.depth_exponent

    @property
    def hidden_states(self):
        """Number L of hidden states whose functions a trajectory has: those with layer = 1 ... L."""
        return len(self.layer_times)

    @property
    def layer_times(self):
        """Share of the branches below every hidden state, shape (L,); at infinite depth a fixed grid."""
        branches = _LAYER_TIMES if self.depth == math.inf else self.depth
        return np.arange(branches + 1) / branches


@dataclass(frozen=True, eq=False, repr=False)
class ShallowNet(Specification):
    """Network with one hidden layer, its output scale and learning rate powers of the width.

    f(x) = sigma sum_{r=1}^d a_r phi(w_r . x),  a_r ~ N(0, 1), w_r ~ N(0, I), without a factor 1/sqrt(D) in the preactivation w . x;
    sigma = sigma* R^q_sigma and reduced learning rate learning_rate R^q_eta, R = width / reference_width; gradient descent on the mean
    loss over the samples. Source: arXiv 2006.06574; docs/theory/shallow_limits.md, sections 1 and 5.

    Parameters
    ----------
    q_sigma : int, Fraction, str such as "-1/2", or float
        Exponent of the output scale. `dmft.limits.shallow` derives to which limit the exponents lead.
    q_eta : int, Fraction, str or float, or a pair of them
        Exponent of the reduced learning rate of both layers, or one each of the output weights a and of the input weights w.
    activation : {"leaky_relu", "relu", "tanh", "erf", "gelu", "softplus", "linear"} or dmft.Activation
    negative_slope : float, optional
        Of "leaky_relu" only; default 0.1.
    reference_width : int
        d*, the width at which networks of all exponents agree.
    sigma : float, optional
        sigma*, the output scale at the reference width. Default reference_width**-0.5.
    corrected : bool
        Add the fixed function (R^(-1/2) - R^-1) sigma* sum_r a_r(0) phi(w_r(0) . x), which keeps the initial function of the
        reference width at every width; see `initialization_corrected`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> dmft.ShallowNet("-1", "1", activation="tanh") == dmft.ShallowNet.mean_field(activation="tanh")
    True
    >>> dmft.limits.shallow().classify("-1", "1").name
    'M2'
    """

    q_sigma: Fraction | float | str
    q_eta: Fraction | float | str | tuple
    activation: str | activations.Activation = "leaky_relu"
    negative_slope: float | None = None
    reference_width: int = 128
    sigma: float | None = None
    corrected: bool = False

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("q_sigma", checks.exponent("q_sigma", self.q_sigma))
        put("q_eta", self._checked_q_eta())
        put("negative_slope", activations.check(self.activation, self.negative_slope))
        put("reference_width", checks.integer("reference_width", self.reference_width, 1))
        put("sigma", checks.positive("sigma", self.reference_width**-0.5 if self.sigma is None else self.sigma))
        put("corrected", checks.flag("corrected", self.corrected))
        if self.corrected and (self.q_sigma, self.q_eta) != (-1, 1):
            raise ValueError(f"corrected=True needs the mean-field exponents q_sigma=-1, q_eta=1; got {self.q_sigma!s} and {self.q_eta!s}")

    def _checked_q_eta(self):
        if not isinstance(self.q_eta, (tuple, list)):
            return checks.exponent("q_eta", self.q_eta)
        if len(self.q_eta) != 2:
            checks.fail("q_eta", self.q_eta, "one exponent or a pair of them, of a and of w")
        pair = tuple(checks.exponent(f"q_eta[{i}]", exponent) for i, exponent in enumerate(self.q_eta))
        return pair[0] if pair[0] == pair[1] else pair

    @property
    def q_etas(self):
        """Exponents of the reduced learning rates of a and of w."""
        return self.q_eta if isinstance(self.q_eta, tuple) else (self.q_eta, self.q_eta)

    @classmethod
    def mean_field(cls, **arguments):
        """Exponents (-1, 1): the mean-field limit. Takes activation, negative_slope, reference_width and sigma."""
        return cls("-1", "1", **arguments)

    @classmethod
    def ntk(cls, **arguments):
        """Exponents (-1/2, 0): the neural tangent kernel limit, started at a Gaussian process."""
        return cls("-1/2", "0", **arguments)

    @classmethod
    def sym_default(cls, **arguments):
        """Exponents (-1/2, 1/2): the default initialization and learning rate, shared symmetrically by the layers."""
        return cls("-1/2", "1/2", **arguments)

    @classmethod
    def default(cls, **arguments):
        """Exponents -1/2 and (1, 0): initialization and one learning rate for all weights as libraries have them by default."""
        return cls("-1/2", ("1", "0"), **arguments)

    @classmethod
    def initialization_corrected(cls, **arguments):
        """The mean-field exponents and a fixed function that keeps the initial function at every width (IC-MF)."""
        return cls("-1", "1", corrected=True, **arguments)


@dataclass(frozen=True, eq=False, repr=False)
class MLP(Specification):
    """Infinitely wide fully connected network of `depth` hidden layers, which learns features on a data set.

    f_c(x) = w_c . phi(h^L) / (gamma N),  h^1 = W^0 x / sqrt(D),  h^{l+1} = W^l phi(h^l) / sqrt(N), all weights N(0, 1), N to infinity;
    the raw learning rate is eta gamma^2 N on the mean loss over the samples.
    Source: arXiv 2205.09653; docs/theory/kernel_evolution.md, section 1.

    Parameters
    ----------
    depth : int
        Number of hidden layers L >= 1 (L + 1 weight matrices).
    activation : {"tanh", "erf", "relu", "leaky_relu", "gelu", "softplus", "linear"} or dmft.Activation
    richness : float
        gamma > 0, the output scale; small is lazy, large is feature learning.
    outputs : int
        Number of output channels C.
    negative_slope : float, optional
        Of "leaky_relu" only; default 0.1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> dmft.MLP(depth=2, activation="leaky_relu", richness=0.5)
    MLP(depth=2, activation='leaky_relu', richness=0.5, outputs=1, negative_slope=0.1)
    """

    depth: int
    activation: str | activations.Activation = "tanh"
    richness: float = 1.0
    outputs: int = 1
    negative_slope: float | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("depth", checks.integer("depth", self.depth, 1, checks.DEEPEST))
        put("negative_slope", activations.check(self.activation, self.negative_slope))
        put("richness", checks.positive("richness", self.richness))
        put("outputs", checks.integer("outputs", self.outputs, 1, checks.MOST_OUTPUTS))


#: Default standard deviation of the hidden weights by activation, as arXiv 2110.15596 has it; 1 for all others.
_WEIGHT_SCALES = {"relu": 2**0.5, "gelu": 2.0}


@dataclass(frozen=True, eq=False, repr=False)
class DeepNet(Specification):
    """Network of `depth` hidden layers of common width m in an abc-parameterization.

    h^1 = W^1 x, h^l = W^l phi(h^(l-1)), f = W^(L+1) phi(h^L), without further factors: inputs are to have norm of order one.
    W^l = m^(-a_l) w^l, w^l(0) ~ m^(-b_l) N(0, s^2) with s = weight_scale for hidden and 1 for readout weights; gradient descent on w^l
    with rate learning_rate m^(-c_l). Source: arXiv 2110.15596, 2011.14522; docs/theory/deep_parameterizations.md, section 1.

    Parameters
    ----------
    depth : int
        Number of hidden layers L >= 1.
    parameterization : str or ABC
        A name of `dmft.parameterization`, or exponents of L + 1 layers.
    activation : {"relu", "leaky_relu", "tanh", "erf", "gelu", "softplus", "linear"}
    negative_slope : float, optional
        Of "leaky_relu" only; default 0.1.
    weight_scale : float, optional
        Standard deviation s; default 2**0.5 for "relu", (2 / (1 + negative_slope**2))**0.5 for "leaky_relu", 2 for "gelu", else 1.
    outputs : int
        Number of output channels C.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> network = dmft.DeepNet(depth=2, parameterization="mup", activation="tanh")
    >>> network.abc
    ABC(a=('-1/2', '0', '1/2'), b=('1/2', '1/2', '1/2'), c=('0', '0', '0'))
    >>> network.abc.analyze("tanh").regime
    'feature learning'
    """

    depth: int
    parameterization: object = "mup"
    activation: str = "relu"
    negative_slope: float | None = None
    weight_scale: float | None = None
    outputs: int = 1

    def __post_init__(self):
        from .parameterizations import ABC, NAMES

        def put(name, value):
            object.__setattr__(self, name, value)

        put("depth", checks.integer("depth", self.depth, 1, checks.DEEPEST_DERIVED))
        put("outputs", checks.integer("outputs", self.outputs, 1, checks.MOST_OUTPUTS))
        checks.choice("activation", self.activation, activations.ACTIVATION_NAMES)
        put("negative_slope", activations.check(self.activation, self.negative_slope))
        scale = (2 / (1 + self.negative_slope**2)) ** 0.5 if self.activation == "leaky_relu" else _WEIGHT_SCALES.get(self.activation, 1.0)
        put("weight_scale", checks.positive("weight_scale", scale if self.weight_scale is None else self.weight_scale))
        if isinstance(self.parameterization, str):
            checks.choice("parameterization", self.parameterization, NAMES)
        elif not isinstance(self.parameterization, ABC):
            checks.fail("parameterization", self.parameterization, f"an ABC or one of {', '.join(map(repr, NAMES))}", TypeError)
        elif self.parameterization.depth != self.depth:
            raise ValueError(f"parameterization must have depth + 1 = {self.depth + 1} layers; got {self.parameterization.depth + 1}")

    @property
    def abc(self):
        """The exponents (`ABC`)."""
        from .parameterizations import parameterization

        return parameterization(self.parameterization, self.depth) if isinstance(self.parameterization, str) else self.parameterization
