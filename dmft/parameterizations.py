"""abc-parameterizations of deep networks, by name and by exponents, and what `derivations` says of them.

W^l = m^(-a_l) w^l with w^l(0) ~ N(0, m^(-2 b_l)) and learning rate eta m^(-c_l) on w^l, l = 1 ... L + 1, width m. Source:
docs/theory/deep_parameterizations.md, section 1; arXiv 2011.14522; arXiv 2110.15596.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property

from derivations import activations, deep, deep_analysis, deep_report, polytope, rates
from derivations.printed import Printed

from . import checks
from .specification import Specification

__all__ = ["ABC", "Analysis", "NAMES", "PLANES", "StableCut", "parameterization", "stable_cut"]

NAMES = ("sp", "ntk", "mup", "integrable", "ip-llr", "ip-bias", "ip-non-centered", "hybrid-mup")

#: Planes through the stable polytope: from one named parameterization towards another, or along a larger or smaller initial readout;
#: the other direction is a common exponent of all learning rates.
PLANES = {"ntk-mup": ("ntk", "mup"), "standard": ("sp", None)}

_FINEST = 64
_OPTIONAL = ("c_later", "b_later", "mean_b", "bias_b", "bias_c", "bias_c_later")
_SPARSE = ("mean_b", "bias_b")


@dataclass(frozen=True, eq=False, repr=False)
class ABC(Specification):
    """An abc-parameterization, one entry per weight matrix, exact.

    Parameters
    ----------
    a, b, c : sequence of L + 1 exponents
        Multiplier m^(-a) of the weights, standard deviation m^(-b) of their initial values, learning rate m^(-c). An exponent is an int,
        a fraction, a string such as "-1/2", or a float that is a multiple of 1/64.
    c_later : sequence, optional
        Learning rates from the second step on; default c.
    b_later : sequence, optional
        From the second step on initial weights count as if drawn with m^(-b_later); default b. Not together with a mean or biases.
    mean_b : sequence, optional
        Initial entries of w have a mean of order m^(-mean_b); None, or None as an entry: no mean.
    bias_b, bias_c, bias_c_later : sequence, optional
        Initial size and learning rates of biases without multiplier; an entry of bias_b may be None: no bias.

    Raises
    ------
    ValueError, TypeError
        If an argument is not a sequence of L + 1 >= 2 exact exponents; the message names it.

    Examples
    --------
    >>> mup = dmft.ABC(a=("-1/2", 0, "1/2"), b=("1/2", "1/2", "1/2"), c=(0, 0, 0))
    >>> mup == dmft.parameterization("mup", depth=2)
    True
    >>> mup.analyze("tanh").feature_learning
    True
    """

    a: tuple
    b: tuple
    c: tuple
    c_later: tuple | None = None
    b_later: tuple | None = None
    mean_b: tuple | None = None
    bias_b: tuple | None = None
    bias_c: tuple | None = None
    bias_c_later: tuple | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("a", _exponents("a", self.a, None, False))
        for name in ("b", "c", *_OPTIONAL):
            given = getattr(self, name)
            if given is not None or name not in _OPTIONAL:
                put(name, _exponents(name, given, len(self.a), name in _SPARSE))
        if self.bias_b is None and (self.bias_c is not None or self.bias_c_later is not None):
            raise ValueError("bias_c and bias_c_later need bias_b, the initial size of the biases; got bias_b=None")
        if self.bias_b is not None and self.bias_c is None:
            raise ValueError("bias_c must be given with bias_b, one learning rate per bias; got bias_c=None")
        if self.b_later is not None and (self.mean_b is not None or self.bias_b is not None):
            raise ValueError("b_later excludes mean_b and bias_b: initial weights that shrink are covered without means and biases only")
        if self.b_later is not None and self.b_later[0] != self.b[0]:
            raise ValueError(f"b_later[0] must be b[0] = {self.b[0]}: the first layer keeps its initial weights; got {self.b_later[0]}")
        for name, default in (("c_later", self.c), ("b_later", self.b), ("bias_c_later", self.bias_c)):
            if getattr(self, name) is None:
                put(name, default)

    @property
    def depth(self):
        """Number of hidden layers L."""
        return len(self.a) - 1

    @property
    def scaling(self):
        """What does not depend on the way in which weights are split into multiplier and variable (derivations.deep.Scaling)."""

        def multiplied(exponents, factor=1):
            return tuple(None if e is None else factor * a + e for a, e in zip(self.a, exponents))

        absent = (None,) * len(self.a)
        return deep.scaling(
            size=multiplied(self.b),
            rate=multiplied(self.c, 2),
            rate_later=multiplied(self.c_later, 2),
            size_later=multiplied(self.b_later),
            mean=multiplied(self.mean_b or absent),
            bias=self.bias_b,
            bias_rate=self.bias_c,
            bias_rate_later=self.bias_c_later,
        )

    def rescaled(self, theta):
        """The same training written with a + theta, b - theta, c - 2 theta: networks agree at every step and width.

        Parameters
        ----------
        theta : exponent or sequence of L + 1 exponents
        """
        thetas = [theta] * len(self.a) if isinstance(theta, (int, Fraction, str, float)) else theta
        thetas = _exponents("theta", thetas, len(self.a), False)

        def moved(exponents, factor):
            return None if exponents is None else tuple(None if e is None else e + factor * t for e, t in zip(exponents, thetas))

        factors = {"a": 1, "b": -1, "b_later": -1, "mean_b": -1, "c": -2, "c_later": -2}
        fields = {name: getattr(self, name) for name in ("bias_b", "bias_c", "bias_c_later")}
        fields |= {name: moved(getattr(self, name), factor) for name, factor in factors.items()}
        if self.b_later == self.b:
            fields["b_later"] = None
        return ABC(**fields)

    def analyze(self, activation="relu"):
        """Exponents of every signal at initialization and after one and two steps, and the regime that they imply.

        Parameters
        ----------
        activation : str
            One of "linear", "relu", "leaky_relu", "relu2", "relu3", "tanh", "erf", "gelu", "silu", "elu", "softplus", "sigmoid", or a
            class: "homogeneous" (of degree one), "odd" (smooth), "smooth" (phi(0) = 0, not odd), "shifted" (phi(0) != 0).

        Returns
        -------
        Analysis
        """
        chosen = activations.classify(checks.choice("activation", activation, activations.NAMES))
        return Analysis(self, deep_analysis.analyze(self.scaling, chosen))

    def to_dict(self):
        """JSON-able dictionary; exponents are strings such as "-1/2". What equals its default is null."""
        fields = {name: getattr(self, name) for name in ("a", "b", "c", *_OPTIONAL)}
        for name, default in (("c_later", self.c), ("b_later", self.b), ("bias_c_later", self.bias_c)):
            if fields[name] == default:
                fields[name] = None
        return {"type": "ABC"} | {name: value and [None if e is None else str(e) for e in value] for name, value in fields.items()}

    def __repr__(self):
        stated = ((name, value) for name, value in self.to_dict().items() if name != "type" and value is not None)
        return f"ABC({', '.join(f'{name}={tuple(value)}' for name, value in stated)})"


def _exponents(name, value, count, sparse):
    """`value` as a tuple of fractions, of a given length if that is not None; entries may be None if `sparse`."""
    allowed = f"a sequence of {'L + 1 >= 2' if count is None else count} exponents, one per weight matrix"
    entries = checks.sequence(name, value, allowed)
    if len(entries) > checks.DEEPEST_DERIVED + 1:
        raise ValueError(f"{name} must have at most {checks.DEEPEST_DERIVED + 1} entries; got {len(entries)}")
    if len(entries) < 2 or (count is not None and len(entries) != count):
        raise ValueError(f"{name} must be {allowed}; got {len(entries)}: {checks.shown(value)}")
    return tuple(None if sparse and e is None else _exact(f"{name}[{i}]", e) for i, e in enumerate(entries))


def _exact(name, value):
    exponent = checks.exponent(name, value)
    result = Fraction(exponent)
    if isinstance(exponent, float) and _FINEST % result.denominator:
        checks.fail(name, value, f'exact: an integer, a fraction, a string such as "-1/3", or a multiple of 1/{_FINEST}')
    return result


def parameterization(name, depth, *, rate=None, degree=None):
    """A parameterization with a name.

    Parameters
    ----------
    name : str
        - "sp": standard, weights N(0, 1/fan-in), one learning rate. Its exponent c is `rate`: 0 (default, as in common libraries) is
          unstable, 1 is the largest rate that is stable.
        - "ntk": neural tangent.
        - "mup": maximal update, written with c = 0.
        - "integrable": mean-field weights m^(-1) and rates in every layer ("naive IP"); stays at initialization for L >= 3.
        - "ip-llr": the same with large learning rates in the first step: `c` that step, `c_later` the others.
        - "ip-bias": with initial biases of order one, and first rates that move every layer.
        - "ip-non-centered": integrable, with entries of mean order one.
        - "hybrid-mup": muP in the first step, then initial hidden weights shrunk to m^(-1); the limit of "ip-llr".
    depth : int
        Number of hidden layers L >= 1.
    rate : exponent, optional
        Only for "sp".
    degree : exponent, optional
        Only for "ip-llr": the rates are those for activations that are positively homogeneous of this degree > 0. Default 1.

    Returns
    -------
    ABC

    Examples
    --------
    >>> dmft.parameterization("mup", depth=2)
    ABC(a=('-1/2', '0', '1/2'), b=('1/2', '1/2', '1/2'), c=('0', '0', '0'))
    >>> dmft.parameterization("sp", depth=2).analyze().regime, dmft.parameterization("sp", depth=2, rate=1).analyze().regime
    ('unstable', 'kernel')
    """
    checks.choice("name", name, NAMES)
    depth = checks.integer("depth", depth, 1, checks.DEEPEST_DERIVED)
    for option, value, owner in (("rate", rate, "sp"), ("degree", degree, "ip-llr")):
        if value is not None and name != owner:
            raise ValueError(f"{option} belongs to {owner!r} only; got {option}={checks.shown(value)} with name={name!r}")
    rate = Fraction(0) if rate is None else _exact("rate", rate)
    degree = Fraction(1) if degree is None else _exact("degree", degree)
    if degree <= 0:
        checks.fail("degree", degree, "> 0")
    return _NAMED[name](depth, rate, degree)


def _layers(first, hidden, last, depth):
    return tuple(map(Fraction, (first, *[hidden] * (depth - 1), last)))


_HALF = Fraction(1, 2)


def _sp(depth, rate, degree):
    return ABC(_layers(0, 0, 0, depth), _layers(0, _HALF, _HALF, depth), _layers(rate, rate, rate, depth))


def _ntk(depth, rate, degree):
    return ABC(_layers(0, _HALF, _HALF, depth), _layers(0, 0, 0, depth), _layers(0, 0, 0, depth))


def _mup(depth, rate, degree):
    a, b = _layers(-_HALF, 0, _HALF, depth), _layers(_HALF, _HALF, _HALF, depth)
    return ABC(a, b, _reduced(a, _muP_rates(depth)))


def _hybrid(depth, rate, degree):
    mup = _mup(depth, rate, degree)
    return ABC(mup.a, mup.b, mup.c, b_later=_layers(_HALF, 1, _HALF, depth))


def _integrable(depth, rate, degree):
    return ABC(**_integrable_weights(depth))


def _ip_llr(depth, rate, degree):
    weights = _integrable_weights(depth)
    first = [Fraction(int(e.p), int(e.q)) for e in rates.homogeneous_rates(weights["a"], degree)]
    return ABC(weights["a"], weights["b"], _reduced(weights["a"], first), c_later=weights["c"])


@cache
def _ip_bias(depth, rate, degree):
    weights, biases = _integrable_weights(depth), _layers(0, 0, 0, depth)
    network = deep.scaling(weights["a"], weights["c"], bias=biases)
    first, first_bias = rates.first_rates(network, activations.CLASSES["smooth"])
    return ABC(
        weights["a"],
        weights["b"],
        _reduced(weights["a"], first),
        c_later=weights["c"],
        bias_b=biases,
        bias_c=first_bias,
        bias_c_later=_layers(-1, -1, 0, depth),
    )


def _ip_non_centered(depth, rate, degree):
    return ABC(**_integrable_weights(depth), mean_b=(None, *[Fraction(0)] * depth))


def _integrable_weights(depth):
    a = _layers(0, 1, 1, depth)
    return {"a": a, "b": _layers(0, 0, 0, depth), "c": _reduced(a, _muP_rates(depth))}


def _muP_rates(depth):
    """Effective rates with which every first update of muP is of order one."""
    return [Fraction(int(e.p), int(e.q)) for e in rates.homogeneous_rates(_layers(0, _HALF, 1, depth))]


def _reduced(a, effective):
    """c of effective rates E = 2 a + c."""
    return tuple(e - 2 * x for x, e in zip(a, effective))


_NAMED = dict(zip(NAMES, (_sp, _ntk, _mup, _integrable, _ip_llr, _ip_bias, _ip_non_centered, _hybrid), strict=True))


@dataclass(frozen=True, repr=False)
class Analysis(Printed):
    """What follows from the exponents of a parameterization; print it.

    Attributes
    ----------
    parameterization : ABC
    result : derivations.deep_analysis.Analysis
    """

    parameterization: ABC
    result: object

    @property
    def regime(self):
        """One of "unstable", "trivial", "kernel", "feature learning"."""
        return self.result.regime

    @property
    def stable(self):
        """Whether no signal grows with the width."""
        return self.regime != "unstable"

    @property
    def trivial(self):
        """Whether it is stable and the logits stay where they were."""
        return self.regime == "trivial"

    @property
    def feature_learning(self):
        """Whether it is stable and preactivations change by order one."""
        return self.regime == "feature learning"

    @cached_property
    def exponents(self):
        """Power of the width of each signal: {(signal, layer, step): Fraction}, -inf for what is zero; layer L + 1 are the logits."""
        return {(e.signal, e.layer, e.step): e.value for e in self.result.counting.exponents}

    @property
    def first_updates(self):
        """Exponents of what the first update of each weight matrix adds to its output, one per matrix."""
        return self.result.first_updates

    @property
    def reasons(self):
        """The steps of the argument."""
        return self.result.reasons

    def to_latex(self):
        """The table for a document with amsmath."""
        return deep_report.latex(self.result)

    def to_dict(self):
        """Everything, JSON-able; exponents are strings."""
        return {"parameterization": self.parameterization.to_dict()} | deep_report.to_json(self.result)

    def __str__(self):
        return deep_report.text(self.result)


@dataclass(frozen=True, repr=False)
class StableCut(Printed):
    """A plane through the polytope of stable parameterizations.

    Attributes
    ----------
    plane : str
    cut : derivations.polytope.Cut
        Its `regions` are polygons of exact points (s, t).
    points : dict of {str: (Fraction, Fraction)}
        Named parameterizations in the plane.
    """

    plane: str
    cut: object = field(hash=False)
    points: dict = field(hash=False)

    def __str__(self):
        places = (f"  {name}: ({', '.join(map(str, place))})" for name, place in self.points.items())
        return "\n".join([f"Plane {self.plane!r} of parameterizations, where training is {', '.join(self.cut.regions)}", *places])


_BOX = "((s_min, s_max), (t_min, t_max))"


def _interval(name, side):
    ends = checks.sequence(name, side, "a pair of numbers, the smaller one first")
    ends = tuple(Fraction(checks.exponent(name, end)) for end in ends)
    if len(ends) != 2 or ends[0] >= ends[1]:
        checks.fail(name, side, "a pair of numbers, the smaller one first")
    return ends


def stable_cut(depth, plane="ntk-mup", box=((-1, 2), (-2, 2))):
    """Where in a plane of parameterizations training is stable, and where it is nontrivial or learns features.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    plane : str
        "ntk-mup": s goes from NTK (0) to muP (1). "standard": s is added to A_{L+1} of the standard parameterization. In both t is added
        to the exponents of all learning rates.
    box : ((s_min, s_max), (t_min, t_max))

    Returns
    -------
    StableCut
    """
    depth = checks.integer("depth", depth, 1, checks.DEEPEST_DERIVED)
    start, end = PLANES[checks.choice("plane", plane, tuple(PLANES))]
    box = tuple(_interval(f"box[{i}]", side) for i, side in enumerate(checks.sequence("box", box, _BOX)))
    if len(box) != 2:
        checks.fail("box", box, _BOX)
    origin = polytope.point(parameterization(start, depth).scaling)
    if end is None:
        along = (Fraction(1), *[Fraction(0)] * (depth + 1))
    else:
        along = tuple(b - a for a, b in zip(origin, polytope.point(parameterization(end, depth).scaling)))
    across = (Fraction(0), *[Fraction(1)] * (depth + 1))
    cut = polytope.cut(depth, origin, along, across, box)
    named = {name: parameterization(name, depth) for name in ("sp", "ntk", "mup")} | {"sp, c = 1": parameterization("sp", depth, rate=1)}
    found = {name: cut.coordinates(polytope.point(known.scaling)) for name, known in named.items()}
    return StableCut(plane, cut, {name: place for name, place in found.items() if place is not None})
