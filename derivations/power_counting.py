"""Limit models from the orders of magnitude of a network: stable band, the cells of all comparisons between orders, their classes.

What is put in is a network in orders of magnitude (see `derive`), the loss, and the definition of stability: increments stay bounded
in the number of steps, and those of the logits are not negligible. Everything else comes out. The orders are max-plus polynomials of
the scaling exponents; the forms on which two of them cross cut the band into cells, and cells with the same equations make a class.

Source: docs/theory/shallow_limits.md, sections 2 and 3; docs/theory/deep_classes.md, section 3 (route B).
"""

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm

import sympy

from . import arrangements, scaling
from .limit_classes import EVOLVE, INITIAL, KERNELS, PERSISTS, PROPERTIES, REGIMES, Derivation, Signature, as_relation, hull, named, reduced
from .scaling import Order, power


@dataclass(frozen=True)
class Branch:
    """A region of exponents on which the loss derivative has one exponent, and the orders of everything in it.

    Increments, kernels and their changes are dictionaries by layer; `kernels0` are those at initialization; `flips` is what a kink of
    phi adds to the changes.
    """

    network: object
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


def derive(network, loss, symbols, describe):
    """All limit models of a network.

    Parameters
    ----------
    network
        Orders of magnitude of the model: attributes `layers` (names) and `gain` (exponent of the loss derivative, zero here);
        methods `step`, `logits`, `kernels`, `kernel_changes`, `mask_flips` of the increments of all layers; a frozen dataclass.
    loss : Loss
    symbols : tuple of sympy.Symbol
        The scaling exponents.
    describe : callable(Branch, Loss, Signature, dict)
        Regime, equations and reasons of the class with this signature and these exponents, as a dictionary.

    Returns
    -------
    Derivation
    """
    classes, cells, bands = [], [], []
    branches = _branches(network, loss, symbols)
    for branch in branches:
        forms = _forms(branch)
        affine = [arrangements.affine(form, symbols) for form in forms]
        stable = _stable_cells(branch, affine)
        cells += stable
        above = [frozenset(cell for cell in stable if _at(edge, cell, symbols) >= 0) for edge in branch.edges]
        for convex in (c for c in above if not any(c < other for other in above)):
            bands.append(sympy.And(*(as_relation(b, symbols) for b in hull(affine, convex, len(symbols)))))
        groups = {}
        for cell in stable:
            groups.setdefault(_signature(branch, cell), []).append(cell)
        for signature, members in groups.items():
            classes.append((signature, _limit(branch, loss, signature, affine, members, describe)))
    return Derivation(loss, symbols, sympy.Or(*bands), _lines(branches[0]), named(classes, network.layers), tuple(cells))


def _branches(network, loss, symbols):
    """Loss derivatives of order one; if they are unbounded, also those that follow initial logits that diverge."""
    if loss.bounded:
        return [_power_counting(network, symbols)]
    none = (Order(),) * len(network.layers)
    kernels = frozenset().union(*network.kernels(*none).values())
    logits = sympy.Symbol("u_f")
    fed_back = {"f": frozenset({logits}) | {e + logits for e in kernels}}
    feedback = _growing(scaling.circuits(scaling.transfer(fed_back, {"f": logits})))
    (initial,) = network.logits(*none)
    return [
        _power_counting(network, symbols, feedback, [(-initial, ">=")]),
        _power_counting(replace(network, gain=initial), symbols, feedback, [(initial, ">")]),
    ]


def _growing(circuits):
    """The circuits whose weight is not zero whatever the exponents."""
    return [(path, weight) for path, weight in circuits if weight != 0]


def _power_counting(network, symbols, circuits=(), region=()):
    """Orders of everything on the part of `region` where `circuits` and those of the increments do not grow with the steps."""
    u = {layer: sympy.Symbol(f"u_{layer}") for layer in network.layers}
    updated = network.step(*map(power, u.values()))
    edges = scaling.transfer({layer: order.exponents for layer, order in zip(u, updated)}, u)
    circuits = (*_growing(scaling.circuits(edges)), *circuits)
    region = (*((-weight, ">=") for _, weight in circuits), *region)
    constraints = _constraints(region, symbols)

    none = (Order(),) * len(u)
    increments, previous = none, None
    while increments != previous:
        previous, increments = increments, tuple(o.pruned(constraints, symbols) for o in network.step(*increments))

    def pruned(exponents):
        return {layer: scaling.prune(e, constraints, symbols) for layer, e in exponents.items()}

    return Branch(
        network=network,
        symbols=symbols,
        region=region,
        circuits=circuits,
        increments=pruned({layer: order.exponents for layer, order in zip(u, increments)}),
        initial=network.logits(*none),
        trained=scaling.prune(network.logits(*increments), constraints, symbols),
        kernels0=network.kernels(*none),
        kernels=pruned(network.kernels(*increments)),
        changes=pruned(network.kernel_changes(*increments)),
        flips=network.mask_flips(*increments),
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
        *itertools.combinations(branch.kernels.values(), 2),
        *((increments, zero) for increments in branch.increments.values()),
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
    return Signature(REGIMES.index(regime), layers, arrangements.sign(e0), arrangements.sign(at(branch.trained)))


def _lines(branch):
    found = {}
    for name, (left, right) in zip(PROPERTIES, _comparisons(branch)):
        forms = dict.fromkeys(_crossings(left, right, branch))
        found[name] = sympy.Or(*(as_relation((arrangements.affine(form, branch.symbols), "="), branch.symbols) for form in forms))
    return found


def _limit(branch, loss, signature, affine, cells, describe):
    """The attributes of the class of all exponents with one signature."""
    symbols = branch.symbols
    cell = max(cells, key=lambda c: c.dimension)
    bounds = hull(affine, cells, len(symbols))

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
    } | {f"increments of {layer}": largest(increments) for layer, increments in branch.increments.items()}
    kernels0 = frozenset().union(*branch.kernels0.values())
    holds = {
        INITIAL: signature.initial == 0,
        KERNELS: _largest(kernels0, cell, symbols) == 0,
        PERSISTS: signature.persists,
        EVOLVE: signature.evolves,
    }
    return dict(
        dimension=max(c.dimension for c in cells),
        conditions=tuple(as_relation(b, symbols) for b in bounds),
        properties=tuple(name for name in PROPERTIES if holds[name]),
        witness=tuple(sympy.Rational(v.numerator, v.denominator) for v in cell.witness),
        exponents={
            name: sympy.Integer(0) if signature.evolves and "change" in name else reduced(e, bounds, cell.witness, symbols)
            for name, e in exponents.items()
        },
        rules=(loss.rule(signature.initial), loss.rule(signature.trained)),
        bounds=tuple(bounds),
        **describe(branch, loss, signature, exponents),
    )
