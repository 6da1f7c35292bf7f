"""The stable parameterizations of Yang and Hu as an exact polyhedron: faces, vertices, two-dimensional cuts.

Variables are A_{L+1}, E_{L+1}, E_1, ..., E_L at A_1 = 0, A_2 = ... = A_L = 1/2, the only sizes with activations of order one. The
conditions come from the rules of `deep`: nothing may grow with the width, neither what a layer's own update adds to its
preactivations nor what the logits gain. Rates are layer-wise; a common rate is a linear subspace.

Source: docs/theory/deep_parameterizations.md, section 2.6; arXiv 2011.14522.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import sympy

from . import arrangements
from .deep import MEAN
from .signals import CENTRED

_HALF = sympy.Rational(1, 2)
SIZE, RATE = sympy.symbols("A_out E_out")
UNSTABLE, TRIVIAL, KERNEL, FEATURES = "unstable", "trivial", "kernel", "feature learning"


def symbols(depth):
    """(A_{L+1}, E_{L+1}, E_1, ..., E_L)."""
    return (SIZE, RATE, *sympy.symbols(f"E_1:{depth + 1}"))


@dataclass(frozen=True)
class Condition:
    """`form` >= 0, affine in `symbols`; it is violated by a signal that grows with the width.

    Attributes
    ----------
    form : sympy.Expr
    reason : str
    layer : int or None
        Of the update that it bounds.
    kind : {"initial logits", "readout", "features", "logits"}
    """

    form: sympy.Expr
    reason: str
    layer: int | None
    kind: str


def driven(readout):
    """Exponent of dh^l in every layer when the readout weights are of order m^(-readout): initial hidden matrices keep it."""
    return -readout


def own_update(layer, rate, readout):
    """Exponent of what the update of W^l adds to h^l, -r_l: R2 with x of order one."""
    return -rate + driven(readout) + (MEAN if layer > 1 else 0)


def conditions(depth):
    """The linear conditions of stability, for both sources of readout weights: initial ones (A_{L+1}) and updates (E_{L+1})."""
    _, _, *rates = symbols(depth)
    found = [
        Condition(SIZE - _HALF, "initial logits: a centred sum of m terms m^(-A_out)", None, "initial logits"),
        Condition(RATE - MEAN, "logits by the update of the readout: a sum with mean of m terms m^(-E_out)", None, "readout"),
    ]
    for layer, rate in enumerate(rates, start=1):
        for name, readout in (("initial", SIZE), ("updated", RATE)):
            moved = sympy.expand(own_update(layer, rate, readout))
            found.append(Condition(-moved, f"h^{layer} by its own update, through {name} readout weights", layer, "features"))
            logits = sympy.expand(MEAN - SIZE + moved)
            found.append(Condition(-logits, f"logits by the update of layer {layer}, through {name} readout weights", layer, "logits"))
    return tuple(found)


@dataclass(frozen=True)
class Classification:
    """What the exponents of a parameterization decide.

    Attributes
    ----------
    regime : {"unstable", "trivial", "kernel", "feature learning"}
    r : Fraction
        Features of the last layer change by m^(-r); the smallest of `layers`.
    layers : tuple of Fraction
        r_l, layer by layer: what each layer's own update adds to its preactivations is of order m^(-r_l).
    kernels : tuple of int
        Layers whose kernels make up the tangent kernel of the limit.
    reasons : tuple of str
        The conditions that are violated, or those that hold with equality.
    """

    regime: str
    r: Fraction
    layers: tuple
    kernels: tuple
    reasons: tuple


def applicable(network):
    """Whether the theory covers a `deep.Scaling`: activations of order one, centred weights without bias, the same at all steps."""
    return (
        (network.size[0], *network.size[1:-1]) == (0, *[CENTRED] * (network.depth - 1))
        and network.size_later == network.size
        and network.rate_later == network.rate
        and set(network.mean) == set(network.bias) == {None}
    )


def point(network):
    """Coordinates of a `deep.Scaling` in the order of `symbols`."""
    return (network.size[-1], network.rate[-1], *network.rate[:-1])


def classify(network):
    """The class of a network to which the theory is `applicable`."""
    size, rate, *rates = point(network)
    layers = tuple(-max(own_update(layer, e, readout) for readout in (size, rate)) for layer, e in enumerate(rates, start=1))
    r = min(layers)
    values = _values(network.depth, point(network))
    broken = [c for c, v in values if v < 0]
    if broken:
        return Classification(UNSTABLE, r, layers, (), tuple(c.reason for c in broken))
    tight = [c for c, v in values if v == 0]
    saturated = {network.depth + 1 if c.kind == "readout" else c.layer for c in tight if c.kind in ("readout", "logits")}
    regime = TRIVIAL if not saturated else FEATURES if r == 0 else KERNEL
    return Classification(regime, r, layers, tuple(sorted(saturated)), tuple(c.reason for c in tight))


def _values(depth, coordinates):
    names = symbols(depth)
    return [(c, arrangements.value(arrangements.affine(c.form, names), coordinates)) for c in conditions(depth)]


@dataclass(frozen=True)
class Polyhedron:
    """{x : forms >= 0} by its facets and by its vertices and directions of rays, all exact.

    Attributes
    ----------
    facets : tuple of int
        Indices of the irredundant forms.
    vertices, rays : tuple of tuple of Fraction
    incidence : tuple of frozenset of int
        For each vertex, then each ray, the facets that contain it.
    dimension : int
    """

    facets: tuple
    vertices: tuple
    rays: tuple
    incidence: tuple
    dimension: int

    def faces(self):
        """Number of faces of each dimension, from vertices up to the polyhedron itself."""
        closed = {frozenset(self.facets)} | set(self.incidence)
        while True:
            further = {a & b for a, b in combinations(closed, 2)} - closed
            if not further:
                break
            closed |= further
        counts = [0] * (self.dimension + 1)
        for common in closed:
            members = [i for i, tight in enumerate(self.incidence) if common <= tight]
            corners = [self.vertices[i] for i in members if i < len(self.vertices)]
            if corners:
                spanned = [tuple(a - b for a, b in zip(v, corners[0])) for v in corners[1:]]
                spanned += [self.rays[i - len(self.vertices)] for i in members if i >= len(self.vertices)]
                counts[arrangements.rank([(0, *v) for v in spanned])] += 1
        return tuple(counts)


def stable(depth):
    """The `Polyhedron` of stable parameterizations, its facets numbered as in `conditions`."""
    return polyhedron([arrangements.affine(c.form, symbols(depth)) for c in conditions(depth)])


def polyhedron(forms):
    """Vertices, rays and facets of {x : forms >= 0} of full dimension and without lines, by the double description method.

    The cone over the polyhedron starts as a simplicial one, from linearly independent forms; each further form cuts off the generators
    on its negative side and adds one on every edge that it crosses.
    """
    size = len(forms[0])
    rows = [(Fraction(1), *[Fraction(0)] * (size - 1)), *forms]  # the first: points of the polyhedron have height 1
    basis = _independent(rows)
    inverse = sympy.Matrix([list(map(sympy.Rational, rows[i])) for i in basis]).inv()
    done = list(basis)
    generators = [tuple(Fraction(int(v.p), int(v.q)) for v in inverse.col(j)) for j in range(size)]
    for i in (i for i in range(len(rows)) if i not in basis):
        values = [_dot(rows[i], g) for g in generators]
        tight = [frozenset(k for k in done if _dot(rows[k], g) == 0) for g in generators]
        kept = [g for g, v in zip(generators, values) if v >= 0]
        for a, b in combinations(range(len(generators)), 2):
            common = tight[a] & tight[b]
            if values[a] * values[b] < 0 and not any(common <= t for k, t in enumerate(tight) if k not in (a, b)):
                low, high = abs(values[a]), abs(values[b])
                kept.append(tuple(high * u + low * v for u, v in zip(generators[a], generators[b])))
        generators = kept
        done.append(i)
    return _described(forms, generators)


def _described(forms, generators):
    vertices = sorted(tuple(v / g[0] for v in g[1:]) for g in generators if g[0])
    rays = sorted(tuple(v / max(map(abs, g[1:])) for v in g[1:]) for g in generators if not g[0])
    points = [(Fraction(1), *v) for v in vertices] + [(Fraction(0), *v) for v in rays]
    tight = [frozenset(i for i, p in enumerate(points) if _dot(form, p) == 0) for form in forms]
    size = len(forms[0])
    facets = [i for i, t in enumerate(tight) if arrangements.rank([(0, *points[k]) for k in t]) == size - 1]
    facets = [i for n, i in enumerate(facets) if tight[i] not in [tight[k] for k in facets[:n]]]
    incidence = tuple(frozenset(i for i in facets if k in tight[i]) for k in range(len(points)))
    return Polyhedron(tuple(facets), tuple(vertices), tuple(rays), incidence, size - 1)


def _independent(rows):
    chosen = []
    for i, row in enumerate(rows):
        if arrangements.rank([(0, *rows[k]) for k in chosen] + [(0, *row)]) > len(chosen):
            chosen.append(i)
    return tuple(chosen)


def _dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


@dataclass(frozen=True)
class Cut:
    """The plane origin + s along + t across through the space of parameterizations, within a box of (s, t).

    Attributes
    ----------
    origin, along, across : tuple of Fraction
    regions : dict of {str: tuple of polygons}
        "stable": the polygon of stable points; "kernel", "feature learning": polygons, segments or points where it is nontrivial, the
        closure of the first containing ends in the second. Corners are pairs of fractions.
    """

    origin: tuple
    along: tuple
    across: tuple
    regions: dict

    def point(self, s, t):
        """A point of the plane in the coordinates of `symbols`."""
        return tuple(o + s * a + t * b for o, a, b in zip(self.origin, self.along, self.across))

    def coordinates(self, point):
        """(s, t) of a point, or None if it is not in the plane."""
        columns = zip(point, self.origin, self.along, self.across, strict=True)
        return arrangements.witness([((Fraction(o - p), Fraction(a), Fraction(b)), "=") for p, o, a, b in columns], 2)


def cut(depth, origin, along, across, box):
    """A two-dimensional `Cut` of the stable polyhedron.

    Parameters
    ----------
    depth : int
    origin, along, across : sequence of Fraction
        In the coordinates of `symbols`.
    box : ((s_min, s_max), (t_min, t_max))
    """
    names = symbols(depth)
    restricted = []
    for c in conditions(depth):
        form = arrangements.affine(c.form, names)
        slopes = (sum(w * v for w, v in zip(form[1:], direction, strict=True)) for direction in (along, across))
        restricted.append((c, (arrangements.value(form, origin), *slopes)))
    (left, right), (low, high) = (tuple(map(Fraction, side)) for side in box)
    corners = [(left, low), (right, low), (right, high), (left, high)]
    polygon = tuple(arrangements.clip(corners, [(form, ">=") for _, form in restricted]))
    saturated, moving = ([form for c, form in restricted if c.kind in kinds] for kinds in (("readout", "logits"), ("features",)))
    nontrivial = _distinct(arrangements.clip(polygon, [(form, "=")]) for form in saturated)
    features = _distinct(arrangements.clip(piece, [(form, "=")]) for piece in nontrivial for form in moving)
    kernel = tuple(piece for piece in nontrivial if piece not in features)
    return Cut(tuple(origin), tuple(along), tuple(across), {"stable": (polygon,), KERNEL: kernel, FEATURES: features})


def _distinct(polygons):
    """Without empty ones, and without those whose corners are among another's."""
    found = sorted((tuple(p) for p in polygons if p), key=len, reverse=True)
    return tuple(p for i, p in enumerate(found) if not any(set(p) <= set(q) for q in found[:i]))
