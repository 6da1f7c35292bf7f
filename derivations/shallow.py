"""Limit models of networks with one hidden layer, derived from its forward pass and its gradient step by power counting in the width.

    f(x) = sigma sum_r a_r phi(w_r x),
    da_r = -eta_a sigma mean_i c_i phi(w_r x_i),   dw_r = -eta_w sigma mean_i c_i a_r phi'(w_r x_i) x_i,

with a, w of order one, phi homogeneous of degree one, sigma = sigma* R^q_sigma and eta_l = eta*_l R^q_eta_l. What is put in is
`Network`, the lines above in orders of magnitude, the loss, and the definition of stability: increments stay bounded in the number
of steps, and those of the logits are not negligible. Everything else comes out: the band, the lines on which a property holds, the
cells between them, and the equations of each.

Names of classes, by rule: "M" kernels evolve, "N" the initial function persists, "F" it persists because diverging logits feed back
through an unbounded loss derivative, "A" none of these; then, if the layers do not act alike, in brackets those that act ("*": with
initial weights forgotten); then a number in the order of the signs of the exponents of the initial and of the trained logits.

Source: theory/shallow_limits.md, sections 1-4b and 7; theory/deep_classes.md, section 3; arXiv 2006.06574.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import gcd, lcm

import sympy

from . import arrangements, equations, scaling
from .losses import LOSSES, Loss
from .scaling import Order, power

Q_SIGMA, Q_ETA, Q_ETA_A, Q_ETA_W = sympy.symbols("q_sigma q_eta q_eta_a q_eta_w")

#: Exponents of the reduced learning rates of a and w, subscripts of their constants.
RATES = {
    "common": ({"a": Q_ETA, "w": Q_ETA}, {"a": "", "w": ""}),
    "layer-wise": ({"a": Q_ETA_A, "w": Q_ETA_W}, {"a": "_a", "w": "_w"}),
}

INITIAL, KERNELS, PERSISTS, EVOLVE = PROPERTIES = (
    "logits finite at initialization",
    "kernels finite at initialization",
    "initial function persists",
    "kernels evolve",
)

A, W = Order(odd=frozenset({sympy.Integer(0)})), Order(even=frozenset({sympy.Integer(0)}))
_REGIMES = "AMNF"


@dataclass(frozen=True)
class Network:
    """The model in orders of magnitude: increments da, dw of one neuron's weights give logits and tangent kernels.

    Attributes
    ----------
    scale, rate_a, rate_w : sympy.Expr
        Exponents of sigma and of the reduced learning rates.
    gain : sympy.Expr
        Exponent of the loss derivative.
    """

    scale: sympy.Expr
    rate_a: sympy.Expr
    rate_w: sympy.Expr
    gain: sympy.Expr = sympy.Integer(0)

    def step(self, da, dw):
        """Increments after one more gradient step; phi(w x) is of the order of w, phi' of order one."""
        driven = power(self.scale + self.gain)
        return da + driven * power(self.rate_a) * (W + dw), dw + driven * power(self.rate_w) * (A + da)

    def logits(self, da, dw):
        """Exponents of sigma sum_r a phi(w x)."""
        return (power(self.scale) * (A + da) * (W + dw)).summed()

    def kernels(self, da, dw):
        """Exponents of eta_a sigma^2 sum phi phi and eta_w sigma^2 sum a^2 phi' phi'."""
        squares = {"a": (self.rate_a, (W + dw) * (W + dw)), "w": (self.rate_w, (A + da) * (A + da))}
        return {layer: (power(2 * self.scale + rate) * square).summed() for layer, (rate, square) in squares.items()}

    def kernel_changes(self, da, dw):
        """Exponents of the change of each kernel, for smooth phi; as phi' is bounded, above that of the kernel means equal to it."""
        squares = {"a": (self.rate_a, W * dw + dw * dw), "w": (self.rate_w, A * da + da * da + A * A * (dw + dw * dw))}
        return {layer: (power(2 * self.scale + rate) * change).summed() for layer, (rate, change) in squares.items()}

    def mask_flips(self, dw):
        """Exponents of what a kink of phi adds to the change of the kernel of w: a fraction dw of phi' flips, with random sign."""
        return frozenset(sympy.expand(2 * self.scale + self.rate_w + (scaling.MEAN + e) * scaling.CENTRED) for e in dw.exponents)


@dataclass(frozen=True)
class Reason:
    """One step of the argument: what follows, and from which condition."""

    because: str
    follows: str

    def __str__(self):
        return f"{self.because}: {self.follows}"


@dataclass(frozen=True)
class LimitClass:
    """One limit model of infinite width.

    Attributes
    ----------
    name : str
    regime : {"kernel", "kernel from F0", "mean field"}
        Stationary kernel, logits start at zero or at the initial function; or kernels evolve with the law of the neurons.
    dimension : int
        Of the set of exponents that lead to it.
    conditions : tuple of sympy.Rel
        Irredundant; together they define that set.
    properties : tuple of str
        Those of `PROPERTIES` that hold.
    signs : tuple of {-1, 0, 1}
        Of the exponents of the logits at initialization and later.
    witness : tuple of sympy.Rational
        Exponents in that set, in the order of `Derivation.symbols`.
    exponents : dict of {str: sympy.Expr}
        Powers of the width of logits, tangent kernel, its relative change, and increments.
    rules : tuple of sympy.Expr
        Loss derivative at step 0 and later, of label y and normalised logit z.
    equations : dict of {str: sympy.Eq}
    reasons : tuple of Reason
    """

    name: str
    regime: str
    dimension: int
    conditions: tuple
    properties: tuple
    signs: tuple
    witness: tuple
    exponents: dict = field(hash=False)
    rules: tuple
    equations: dict = field(hash=False)
    reasons: tuple
    bounds: tuple = field(repr=False)  # the conditions as (form, relation), for `arrangements`

    def contains(self, point, tolerance=0):
        """Whether exponents (fractions) meet the conditions; a form within `tolerance` counts as zero."""
        values = [(arrangements.value(form, point), relation) for form, relation in self.bounds]
        return all(arrangements.holds(relation, 0 if abs(v) < tolerance else v) for v, relation in values)


@dataclass(frozen=True)
class Derivation:
    """What follows for one loss and one choice of learning rates.

    Attributes
    ----------
    loss : Loss
    symbols : tuple of sympy.Symbol
        The scaling exponents.
    band : sympy.Boolean
        Where the dynamics is stable.
    lines : dict of {str: sympy.Boolean}
        For each of `PROPERTIES` the equation of the points on which it holds, if they are stable and loss derivatives of order one.
    classes : tuple of LimitClass
    cells : tuple of arrangements.Cell
        Of the arrangement of all forms; classes are unions of cells.
    """

    loss: Loss
    symbols: tuple
    band: sympy.logic.boolalg.Boolean
    lines: dict = field(hash=False)
    classes: tuple
    cells: tuple = field(repr=False)

    def classify(self, point, tolerance=0):
        """The class at exponents given as fractions, in the order of `symbols`; None where training is not stable."""
        by_dimension = sorted(self.classes, key=lambda c: c.dimension)
        return next((c for c in by_dimension if c.contains(point, tolerance)), None)


@dataclass(frozen=True)
class _Branch:
    """A region of exponents on which the loss derivative has one exponent, and the orders of everything in it."""

    network: Network
    symbols: tuple
    region: tuple  # (expression, relation)
    circuits: tuple
    increments: dict
    initial: frozenset
    trained: frozenset
    kernels0: dict
    kernels: dict
    changes: dict
    flips: frozenset

    @property
    def kernel(self):
        return frozenset().union(*self.kernels.values())

    @property
    def change(self):
        return frozenset().union(*self.changes.values())

    @property
    def step(self):
        """Exponents of one step of the logits."""
        return frozenset(sympy.expand(e + self.network.gain) for e in self.kernel)

    @property
    def edges(self):
        """At least one of these must not be negative, lest the logits stay at initialization."""
        return tuple(sympy.expand(e - e0) for e in sorted(self.step, key=sympy.default_sort_key) for e0 in self.initial)

    def constraints(self):
        return _constraints(self.region, self.symbols)


def derive(loss="logistic", rates="common"):
    """All limit models for a loss and a choice of learning rates.

    Parameters
    ----------
    loss : {"logistic", "hinge", "mse", "softmax"}
    rates : {"common", "layer-wise"}
        One exponent of the reduced learning rate, or one for each layer.

    Returns
    -------
    Derivation
    """
    loss = LOSSES[loss]()
    exponents, constants = RATES[rates]
    symbols = (Q_SIGMA, *dict.fromkeys(exponents.values()))
    network = Network(Q_SIGMA, exponents["a"], exponents["w"])
    classes, cells, bands = [], [], []
    branches = _branches(network, loss, symbols)
    for branch in branches:
        forms = _forms(branch)
        affine = [arrangements.affine(form, symbols) for form in forms]
        stable = _stable_cells(branch, affine)
        cells += stable
        above = [frozenset(cell for cell in stable if _at(edge, cell, symbols) >= 0) for edge in branch.edges]
        for convex in (c for c in above if not any(c < other for other in above)):
            bands.append(sympy.And(*(_relation(b, symbols) for b in _conditions(affine, convex, len(symbols)))))
        groups = {}
        for cell in stable:
            groups.setdefault(_signature(branch, cell), []).append(cell)
        classes += [(signature, _limit(branch, loss, constants, signature, affine, members)) for signature, members in groups.items()]
    return Derivation(loss, symbols, sympy.Or(*bands), _lines(branches[0]), _named(classes), tuple(cells))


def _branches(network, loss, symbols):
    """Loss derivatives of order one; if they are unbounded, also those that follow initial logits that diverge."""
    if loss.bounded:
        return [_power_counting(network, symbols)]
    none = Order()
    kernels = frozenset().union(*network.kernels(none, none).values())
    logits = sympy.Symbol("u_f")
    fed_back = {"f": frozenset({logits}) | {e + logits for e in kernels}}
    feedback = _growing(scaling.circuits(scaling.transfer(fed_back, {"f": logits})))
    (initial,) = network.logits(none, none)
    return [
        _power_counting(network, symbols, feedback, [(-initial, ">=")]),
        _power_counting(replace(network, gain=initial), symbols, feedback, [(initial, ">")]),
    ]


def _growing(circuits):
    """The circuits whose weight is not zero whatever the exponents."""
    return [(path, weight) for path, weight in circuits if weight != 0]


def _power_counting(network, symbols, circuits=(), region=()):
    """Orders of everything on the part of `region` where `circuits` and those of the increments do not grow with the steps."""
    u = {layer: sympy.Symbol(f"u_{layer}") for layer in "aw"}
    updated = network.step(power(u["a"]), power(u["w"]))
    edges = scaling.transfer({layer: order.exponents for layer, order in zip("aw", updated)}, u)
    circuits = (*_growing(scaling.circuits(edges)), *circuits)
    region = (*((-weight, ">=") for _, weight in circuits), *region)
    constraints = _constraints(region, symbols)

    increments, previous = (Order(), Order()), None
    while increments != previous:
        previous, increments = increments, tuple(o.pruned(constraints, symbols) for o in network.step(*increments))

    def pruned(exponents):
        return {layer: scaling.prune(e, constraints, symbols) for layer, e in exponents.items()}

    return _Branch(
        network=network,
        symbols=symbols,
        region=region,
        circuits=circuits,
        increments=pruned({layer: order.exponents for layer, order in zip("aw", increments)}),
        initial=network.logits(Order(), Order()),
        trained=scaling.prune(network.logits(*increments), constraints, symbols),
        kernels0=network.kernels(Order(), Order()),
        kernels=pruned(network.kernels(*increments)),
        changes=pruned(network.kernel_changes(*increments)),
        flips=network.mask_flips(increments[1]),
    )


def _constraints(region, symbols):
    return [(arrangements.affine(e, symbols), relation) for e, relation in region]


def _comparisons(branch):
    """The pairs of orders whose comparison decides between limit equations; the first four give the property lines."""
    zero = frozenset({sympy.Integer(0)})
    kernels0 = frozenset().union(*branch.kernels0.values())
    return (
        (branch.initial, zero),
        (kernels0, zero),
        (branch.step, branch.initial),
        (branch.change, branch.kernel),
        (branch.trained, zero),
        (branch.kernels["a"], branch.kernels["w"]),
        (branch.increments["a"], zero),
        (branch.increments["w"], zero),
    )


def _crossings(left, right, branch):
    """Forms that vanish where two orders are equal, as far as that is a piece of full dimension of a wall or of a face of the region."""
    faces = branch.constraints()
    for p in sorted(left, key=sympy.default_sort_key):
        for q in sorted(right, key=sympy.default_sort_key):
            difference = sympy.expand(p - q)
            if difference.free_symbols:
                wall = arrangements.affine(difference, branch.symbols)
                largest = _constraints([(e - other, ">=") for e, side in ((p, left), (q, right)) for other in side - {e}], branch.symbols)
                aside = [(form, ">") for form, relation in largest + faces if relation == ">" or _ratio(form, wall) is None]
                if arrangements.witness([(wall, "="), *aside], len(branch.symbols)):
                    yield _primitive(difference, branch.symbols)


def _primitive(expression, symbols):
    """The positive multiple, or the negative one if that makes the first coefficient positive, with coprime integer coefficients."""
    _, *slopes = arrangements.affine(expression, symbols)
    common = lcm(*(s.denominator for s in slopes))
    factor = Fraction(common, gcd(*(int(s * common) for s in slopes)))
    leading = next(s for s in slopes if s)
    return sympy.expand(expression * sympy.Rational(factor.numerator, factor.denominator) * (1 if leading > 0 else -1))


def _forms(branch):
    faces = [_primitive(e, branch.symbols) for e, _ in branch.region]
    walls = [form for left, right in _comparisons(branch) for form in _crossings(left, right, branch)]
    return list(dict.fromkeys([*faces, *walls]))


def _stable_cells(branch, affine):
    """Cells of the arrangement in the region on which a step of the logits is not negligible."""
    allowed = []
    faces = branch.constraints()
    for form in affine:
        signs = {-1, 0, 1}
        for face, relation in faces:
            factor = _ratio(face, form)
            if factor is not None:
                signs &= {arrangements.sign(factor)} | ({0} if relation == ">=" else set())
        allowed.append(signs)
    size = len(branch.symbols)
    return [cell for cell in arrangements.cells(affine, allowed, size) if any(_at(e, cell, branch.symbols) >= 0 for e in branch.edges)]


def _ratio(form, other):
    """The factor by which one form is a multiple of another, or None."""
    pivot = next(j for j, v in enumerate(other[1:], start=1) if v)
    factor = form[pivot] / other[pivot]
    return factor if form == tuple(factor * v for v in other) else None


def _at(expression, cell, symbols):
    return arrangements.value(arrangements.affine(expression, symbols), cell.witness)


def _largest(exponents, cell, symbols):
    return max(_at(e, cell, symbols) for e in exponents)


@dataclass(frozen=True, order=True)
class _Signature:
    """Which terms of the equations survive. Exponents with the same signature have the same limit."""

    regime: int  # index in _REGIMES
    layers: tuple  # (layer, sign of the exponent of its increments); in the kernel regime the layers with the largest kernel, and 0
    initial: int
    trained: int

    @property
    def evolves(self):
        return _REGIMES[self.regime] == "M"

    @property
    def persists(self):
        return _REGIMES[self.regime] in "NF"


def _signature(branch, cell):
    def at(exponents):
        return _largest(exponents, cell, branch.symbols)

    e0, step, kernel = at(branch.initial), at(branch.step), at(branch.kernel)
    if at(branch.change) >= kernel:
        regime = "M"
        layers = tuple((layer, arrangements.sign(at(e))) for layer, e in branch.increments.items())
    else:
        regime = "F" if branch.network.gain else "N" if e0 == step else "A"
        layers = tuple((layer, 0) for layer, e in branch.kernels.items() if at(e) == kernel)
    return _Signature(_REGIMES.index(regime), layers, arrangements.sign(e0), arrangements.sign(at(branch.trained)))


_OPPOSITES = {"=": ("<", ">"), ">": ("<=",), ">=": ("<",)}


def _conditions(affine, cells, size):
    """Irredundant constraints of the convex union of cells."""
    bounds = []
    for j, form in enumerate(affine):
        signs = {cell.signs[j] for cell in cells}
        if signs == {0}:
            bounds.append((form, "="))
        elif not {-1, 1} <= signs:
            oriented = form if 1 in signs else tuple(-v for v in form)
            bounds.append((oriented, ">=" if 0 in signs else ">"))
    for bound in sorted(bounds, key=lambda b: -sum(v != 0 for v in b[0])):
        others = [b for b in bounds if b != bound]
        if all(arrangements.witness([*others, _negated(bound[0], relation)], size) is None for relation in _OPPOSITES[bound[1]]):
            bounds = others
    return bounds


def _negated(form, relation):
    return (tuple(-v for v in form), {"<": ">", "<=": ">="}[relation]) if "<" in relation else (form, relation)


def _relation(bound, symbols):
    """A constraint as a sympy relation, variables left, constant right, first coefficient positive."""
    form, relation = bound
    flip = next(v for v in form[1:] if v) < 0
    constant, *slopes = (sympy.Rational(v.numerator, v.denominator) * (-1 if flip else 1) for v in form)
    kind = {"=": sympy.Eq, ">": sympy.Lt if flip else sympy.Gt, ">=": sympy.Le if flip else sympy.Ge}[relation]
    return kind(sum(s * q for s, q in zip(slopes, symbols)), -constant)


def _lines(branch):
    found = {}
    for name, (left, right) in zip(PROPERTIES, _comparisons(branch)):
        forms = dict.fromkeys(_crossings(left, right, branch))
        found[name] = sympy.Or(*(_relation((arrangements.affine(form, branch.symbols), "="), branch.symbols) for form in forms))
    return found


def _limit(branch, loss, constants, signature, affine, cells):
    """The class of all exponents with one signature, without its name."""
    symbols = branch.symbols
    cell = max(cells, key=lambda c: c.dimension)
    bounds = _conditions(affine, cells, len(symbols))

    def largest(exponents):
        return sympy.Max(*scaling.prune(exponents, bounds, symbols))

    kernel = largest(branch.kernel)

    def relative(changes):
        return largest({sympy.expand(e - kernel) for e in changes})

    exponents = {
        "initial logits": largest(branch.initial),
        "logits": largest(branch.trained),
        "tangent kernel": kernel,
        "relative kernel change": relative(branch.change),
        "relative kernel change, phi with a kink": relative(branch.change | branch.flips),
        "increments of a": largest(branch.increments["a"]),
        "increments of w": largest(branch.increments["w"]),
    }
    kernels0 = frozenset().union(*branch.kernels0.values())
    holds = {
        INITIAL: signature.initial == 0,
        KERNELS: _largest(kernels0, cell, symbols) == 0,
        PERSISTS: signature.persists,
        EVOLVE: signature.evolves,
    }
    survive = (
        equations.measure_regime(constants, dict(signature.layers))
        if signature.evolves
        else equations.kernel_regime(constants, [layer for layer, _ in signature.layers], signature.persists)
    )
    return dict(
        regime="mean field" if signature.evolves else "kernel from F0" if signature.persists else "kernel",
        dimension=max(c.dimension for c in cells),
        conditions=tuple(_relation(b, symbols) for b in bounds),
        properties=tuple(name for name in PROPERTIES if holds[name]),
        signs=(signature.initial, signature.trained),
        witness=tuple(sympy.Rational(v.numerator, v.denominator) for v in cell.witness),
        exponents={
            name: sympy.Integer(0) if signature.evolves and "change" in name else _reduced(e, bounds, cell, symbols)
            for name, e in exponents.items()
        },
        rules=(loss.rule(signature.initial), loss.rule(signature.trained)),
        equations=equations.initial_function() | equations.loss_derivatives(loss, signature.initial, signature.trained) | survive,
        reasons=_reasons(branch, loss, signature, exponents),
        bounds=tuple(bounds),
    )


def _reduced(exponent, bounds, cell, symbols):
    """The number that an exponent is if the equalities among the bounds make it one."""
    fixed = [form for form, relation in bounds if relation == "="]
    if exponent.has(sympy.Max) or arrangements.rank([*fixed, arrangements.affine(exponent, symbols)]) > arrangements.rank(fixed):
        return exponent
    constant = _at(exponent, cell, symbols)
    return sympy.Rational(constant.numerator, constant.denominator)


def _compared(expression, sign):
    return f"{expression} {'<=>'[sign + 1]} 0"


def _reasons(branch, loss, signature, exponents):
    e0, e1, change = (exponents[name] for name in ("initial logits", "logits", "relative kernel change"))
    size = {-1: "vanish", 0: "stay finite", 1: "diverge"}
    reasons = [
        Reason(f"{weight} <= 0", f"the circuit {' -> '.join((*path, path[0]))} of the gradient step does not grow with the number of steps")
        for path, weight in branch.circuits
    ]
    if branch.network.gain:
        reasons.append(Reason(f"{loss.name} has an unbounded derivative and {e0} > 0", f"the first gradients are of order d^({e0})"))
    reasons += [
        Reason(
            f"a has mean zero, so sigma sum_r a phi(w x) is a centred sum: exponent {_compared(e0, signature.initial)}",
            f"logits {size[signature.initial]} at initialization, the first loss derivative is {loss.rule(signature.initial)} at z = F0",
        ),
        Reason(
            f"eta sigma^2 sum_r phi phi and eta sigma^2 sum_r a^2 phi' phi' have a mean: largest exponent {exponents['tangent kernel']}",
            f"this is the tangent kernel, of {' and '.join(layer for layer, _ in signature.layers)}"
            if not signature.evolves
            else "this is the tangent kernel",
        ),
        Reason(
            f"{exponents['tangent kernel'] + branch.network.gain - e0} {'=' if signature.persists else '>'} 0",
            "a step of the logits is as large as the initial logits: the initial function persists"
            if signature.persists
            else "a step of the logits is larger than the initial logits: normalised logits start at zero",
        ),
        Reason(
            f"the relative change of the kernel has exponent {f'min(0, {change}) = 0' if signature.evolves else f'{change} < 0'}",
            "the law of (a, w) evolves and with it the kernel" if signature.evolves else "the kernel is stationary",
        ),
        Reason(
            f"logits after the first step have exponent {_compared(e1, signature.trained)}",
            f"they {size[signature.trained]}, later loss derivatives are {loss.rule(signature.trained)} at the normalised logits z",
        ),
    ]
    if signature.initial > 0 and not signature.persists:
        because, follows = "F0 may be right on all samples", "then nothing moves, and the next loss derivative is again that of step 0"
        reasons.append(Reason(because, follows))
    return tuple(reasons)


def _named(classes):
    """Classes in the order of regime, layers and signs of the exponents of the logits, with their names."""
    classes = sorted(classes, key=lambda item: item[0])
    counters, result = {}, []
    for signature, content in classes:
        alike = len(signature.layers) == 2 and all(sign == 0 for _, sign in signature.layers)
        acting = "" if alike else "[" + "".join(layer + "*" * (sign > 0) for layer, sign in signature.layers if sign >= 0) + "]"
        prefix = _REGIMES[signature.regime] + acting
        counters[prefix] = counters.get(prefix, 0) + 1
        result.append(LimitClass(name=f"{prefix}{counters[prefix]}", **content))
    return tuple(result)
