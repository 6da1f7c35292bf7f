"""What a derivation of limit models hands out, whatever the network: classes, their names, and conditions without redundance.

A limit model is a set of exponents with one `Signature`, the list of the terms that survive in its equations. Names by rule: "M"
kernels evolve, "N" the initial function persists, "F" it persists because diverging logits feed back through an unbounded loss
derivative, "A" none of these; then, if the layers do not act alike, in brackets those that act ("*": with initial weights
forgotten); then a number in the order of the signs of the exponents of the initial and of the trained logits.

Source: docs/theory/shallow_limits.md, sections 3 and 4; docs/theory/deep_classes.md, sections 1 to 3.
"""

from dataclasses import dataclass, field

import sympy

from . import arrangements
from .losses import Loss
from .printed import Printed

INITIAL, KERNELS, PERSISTS, EVOLVE = PROPERTIES = (
    "logits finite at initialization",
    "kernels finite at initialization",
    "initial function persists",
    "kernels evolve",
)
REGIMES = "AMNF"


@dataclass(frozen=True)
class Reason:
    """One step of the argument: what follows, and from which condition."""

    because: str
    follows: str

    def __str__(self):
        return f"{self.because}: {self.follows}"


@dataclass(frozen=True, order=True)
class Signature:
    """Which terms of the equations survive. Exponents with the same signature have the same limit.

    Attributes
    ----------
    regime : int
        Index in `REGIMES`.
    layers : tuple of (str, {-1, 0, 1})
        Where kernels evolve, each layer and the sign of the exponent of its increments over its initial weights: it stays, it moves,
        its start is forgotten. Else the layers with the largest kernel, and 0.
    initial, trained : {-1, 0, 1}
        Signs of the exponents of the logits at initialization and later.
    """

    regime: int
    layers: tuple
    initial: int
    trained: int

    @property
    def evolves(self):
        return REGIMES[self.regime] == "M"

    @property
    def persists(self):
        return REGIMES[self.regime] in "NF"

    @property
    def acting(self):
        """The layers that act."""
        return tuple(layer for layer, sign in self.layers if sign >= 0)

    @property
    def forgotten(self):
        """The layers whose initial weights are forgotten."""
        return tuple(layer for layer, sign in self.layers if sign > 0)

    def prefix(self, layers):
        """The name without its number; `layers` are all of the network."""
        alike = self.acting == tuple(layers) and not self.forgotten
        return REGIMES[self.regime] + ("" if alike else f"[{''.join(a + '*' * (a in self.forgotten) for a in self.acting)}]")


@dataclass(frozen=True, repr=False)
class LimitClass(Printed):
    """One limit model of infinite width.

    Attributes
    ----------
    name : str
    regime : {"kernel", "kernel from F0", "mean field", "feature learning"}
        Stationary kernel, logits start at zero or at the initial function; or kernels evolve with the law of the neurons, of one hidden
        layer ("mean field") or of several.
    layers, forgotten : tuple of str
        The layers that act: of the kernel, or that move where kernels evolve; those of them whose initial weights are forgotten.
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
    bounds : tuple
        The conditions as pairs of a form and its relation to zero.

    Examples
    --------
    >>> limit = dmft.limits.shallow()["M2"]
    >>> print(limit)
    M2: mean field, layers a, w, where q_eta + q_sigma = 0, q_eta + 2*q_sigma = -1
      kernels finite at initialization
      kernels evolve
      ...
    >>> limit.exponents["logits"], limit.witness
    (0, (-1, 1))
    """

    name: str
    regime: str
    layers: tuple
    forgotten: tuple
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

    def __str__(self):
        from .report import described

        return "\n".join(described(self))

    def contains(self, point, tolerance=0):
        """Whether exponents (fractions) meet the conditions; a form within `tolerance` counts as zero."""
        values = [(arrangements.value(form, point), relation) for form, relation in self.bounds]
        return all(arrangements.holds(relation, 0 if abs(v) < tolerance else v) for v, relation in values)


@dataclass(frozen=True, repr=False)
class Derivation(Printed):
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
    cells : tuple of arrangements.Cell or branching.Piece
        Convex sets of which the classes are unions: of the arrangement of all forms, or where power counting decides alike.
    """

    loss: Loss
    symbols: tuple
    band: sympy.logic.boolalg.Boolean
    lines: dict = field(hash=False)
    classes: tuple
    cells: tuple = field(repr=False)

    def __str__(self):
        return f"{len(self.classes)} limit models, {self.loss.name} loss: {' '.join(c.name for c in self.classes)}"

    def classify(self, point, tolerance=0):
        """The class at exponents given as fractions, in the order of `symbols`; None where training is not stable."""
        by_dimension = sorted(self.classes, key=lambda c: c.dimension)
        return next((c for c in by_dimension if c.contains(point, tolerance)), None)


def compared(expression, sign):
    """The expression, said to be negative, zero or positive."""
    return f"{expression} {'<=>'[sign + 1]} 0"


def argument(branch, loss, signature, exponents, *, circuit, initial, kernel, acting, changes):
    """The chain of reasons of a limit, from the conditions of stability to the loss derivatives.

    Parameters
    ----------
    branch
        Has the circuits of the increments and the network.
    loss : Loss
    signature : Signature
    exponents : dict of {str: sympy.Expr}
        As of `LimitClass`.
    circuit : str
        What a circuit without positive weight says, after the circuit itself.
    initial, kernel : str
        Why initial logits and tangent kernel are as large as they are, before their exponents.
    acting : str
        The layers whose kernel it is.
    changes : sequence of Reason
        What becomes of the kernel.

    Returns
    -------
    tuple of Reason
    """
    e0, e1, largest = (exponents[name] for name in ("initial logits", "logits", "tangent kernel"))
    size = {-1: "vanish", 0: "stay finite", 1: "diverge"}
    reasons = [Reason(f"{weight} <= 0", f"the circuit {' -> '.join((*path, path[0]))} {circuit}") for path, weight in branch.circuits]
    if branch.network.gain:
        reasons.append(Reason(f"{loss.name} has an unbounded derivative and {e0} > 0", f"the first gradients are of order d^({e0})"))
    reasons += [
        Reason(
            f"{initial}: exponent {compared(e0, signature.initial)}",
            f"logits {size[signature.initial]} at initialization, the first loss derivative is {loss.rule(signature.initial)} at z = F0",
        ),
        Reason(
            f"{kernel}: largest exponent {largest}",
            "this is the tangent kernel" if signature.evolves else f"this is the tangent kernel, of {acting}",
        ),
        Reason(
            f"{largest + branch.network.gain - e0} {'=' if signature.persists else '>'} 0",
            "a step of the logits is as large as the initial logits: the initial function persists"
            if signature.persists
            else "a step of the logits is larger than the initial logits: normalised logits start at zero",
        ),
        *changes,
        Reason(
            f"logits after the first step have exponent {compared(e1, signature.trained)}",
            f"they {size[signature.trained]}, later loss derivatives are {loss.rule(signature.trained)} at the normalised logits z",
        ),
    ]
    if signature.initial > 0 and not signature.persists:
        because, follows = "F0 may be right on all samples", "then nothing moves, and the next loss derivative is again that of step 0"
        reasons.append(Reason(because, follows))
    return tuple(reasons)


def named(classes, layers):
    """Limit classes in the order of regime, layers and signs, with their names.

    Parameters
    ----------
    classes : iterable of (Signature, dict)
        The dictionary holds the attributes of a `LimitClass` that its signature does not give.
    layers : sequence of str
        All layers of the network.
    """
    counters, result = {}, []
    for signature, content in sorted(classes, key=lambda item: item[0]):
        prefix = signature.prefix(layers)
        counters[prefix] = counters.get(prefix, 0) + 1
        identity = dict(name=f"{prefix}{counters[prefix]}", layers=signature.acting, forgotten=signature.forgotten)
        result.append(LimitClass(**identity, signs=(signature.initial, signature.trained), **content))
    return tuple(result)


_OPPOSITES = {"=": ("<", ">"), ">": ("<=",), ">=": ("<",)}


def hull(affine, cells, size):
    """Irredundant constraints of the convex union of cells of the arrangement of the forms `affine`."""
    bounds = []
    for j, form in enumerate(affine):
        signs = {cell.signs[j] for cell in cells}
        if signs == {0}:
            bounds.append((form, "="))
        elif not {-1, 1} <= signs:
            oriented = form if 1 in signs else tuple(-v for v in form)
            bounds.append((oriented, ">=" if 0 in signs else ">"))
    return irredundant(bounds, size)


def irredundant(bounds, size):
    """The constraints without those that follow from the others; of two that say the same, the longer is left out."""
    for bound in sorted(bounds, key=lambda b: -sum(v != 0 for v in b[0])):
        others = [b for b in bounds if b != bound]
        if all(arrangements.witness([*others, _negated(bound[0], relation)], size) is None for relation in _OPPOSITES[bound[1]]):
            bounds = others
    return bounds


def _negated(form, relation):
    return (tuple(-v for v in form), {"<": ">", "<=": ">="}[relation]) if "<" in relation else (form, relation)


def as_relation(bound, symbols):
    """A constraint as a sympy relation, variables left, constant right, first coefficient positive."""
    form, relation = bound
    flip = next(v for v in form[1:] if v) < 0
    constant, *slopes = (sympy.Rational(v.numerator, v.denominator) * (-1 if flip else 1) for v in form)
    kind = {"=": sympy.Eq, ">": sympy.Lt if flip else sympy.Gt, ">=": sympy.Le if flip else sympy.Ge}[relation]
    return kind(sum(s * q for s, q in zip(slopes, symbols)), -constant)


def reduced(exponent, bounds, point, symbols):
    """The number that an exponent is if the equalities among the bounds make it one."""
    fixed = [form for form, relation in bounds if relation == "="]
    if exponent.has(sympy.Max) or arrangements.rank([*fixed, arrangements.affine(exponent, symbols)]) > arrangements.rank(fixed):
        return exponent
    constant = arrangements.value(arrangements.affine(exponent, symbols), point)
    return sympy.Rational(constant.numerator, constant.denominator)
