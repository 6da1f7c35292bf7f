"""Limit models of networks with any number of hidden layers, derived from their forward pass and gradient step by power counting.

    f(x) = sigma W^n phi(W^L ... phi(W^1 x)),   n = L + 1,   dW^l = -eta_l dLoss/dW^l,

with entries of order one in W(0), phi homogeneous of degree one, sigma = sigma* R^q_sigma and eta_l = eta*_l R^q_eta_l. A network
whose layers have initial scales s_l and raw rates is of this form: by homogeneity sigma is the product of the s_l and eta_l the raw
rate over s_l^2 (`from_abc`), so layer-wise rates and layer-wise initial scales are the same freedom.

Definitions (Golikov). Training is stable if from some step on the increments of the logits are, in powers of the width, as large as
the logits, as long as the loss derivative does not vanish on all samples; logits may vanish or diverge. A limit model is the law of
the trajectories over their size; two choices of exponents are in one class if their limit equations for the logits are the same.

What is put in is `deep_network.Network`: signals, increments and kernels in orders of magnitude. What comes out:

* Increments stay bounded in the number of steps if and only if no circuit of their recursion grows. (Only if: a circuit of its max-plus
  linear part. If: on every piece of the region left by the circuits the recursion reaches a fixed point, or `deep_network.Growth` would
  be raised.) So at most one layer forgets its initial weights.
* Training leaves the initial logits if and only if the kernel of some layer gives steps as large as them.
* In this band every piece on which power counting takes the same decisions has one limit; pieces with the same `Signature` are one
  class. A network of which the readout alone moves is linear in what moves: its kernel is stationary, whether or not its increments
  exceed its initial weights, and `identify_random_features` counts it once.

With one common exponent of the rates the classes are the same 13 at every depth; with one exponent for each layer there are
13 (2^n - 1) + 5 n 2^(n-1) - 10 of them: 49, 141, 345, 793 for L = 1 to 4.

Exact, hence proven, are the recursion's fixed points, the polyhedra, their number and dimensions, and the upper bounds that the
recursion gives. That the bounds are attained (generic alignment; sums of squares do not cancel) and that the law of large numbers
holds in each cell is power counting, checked on networks in the tests; that different signatures have different limits is generic (the
kernels of the layers are linearly independent) and was checked on networks (section 4). Not covered: phi(z) = z, where all
kernels are proportional; odd phi, for which means of phi phi' vanish; phi that is not homogeneous, for which hidden scales are not a
gauge: then impose pre-activations of order one, as `bounded_increments="hidden"` does for their increments.

Source: docs/theory/deep_classes.md; for one hidden layer arXiv 2006.06574.
"""

import functools
import itertools
from dataclasses import dataclass, replace
from fractions import Fraction

import sympy

from . import arrangements, branching, deep_equations, equations, scaling
from .deep_network import ZERO, Network, count_powers
from .limit_classes import (
    EVOLVE,
    INITIAL,
    KERNELS,
    PERSISTS,
    REGIMES,
    Derivation,
    LimitClass,
    Reason,
    argument,
    as_relation,
    irredundant,
    reduced,
)
from .losses import LOSSES

Q_SIGMA, Q_ETA = sympy.symbols("q_sigma q_eta")
_loss_derivatives = functools.cache(equations.loss_derivatives)
_REGIMES = {"A": "kernel", "N": "kernel from F0", "F": "kernel from F0", "M": "feature learning"}


@dataclass(frozen=True)
class _Branch:
    """A region of exponents on which the loss derivative has one exponent."""

    network: Network
    circuits: tuple
    region: tuple  # (form, relation)


class Model:
    """A network, a loss, and what counts as a class: classes at single points without an enumeration, or all of them.

    Parameters
    ----------
    network : Network
    symbols : tuple of sympy.Symbol
        Those of its exponents.
    loss : Loss
    constants : dict of {str: str}
        Subscript of the constants of each layer.
    identify_random_features : bool
    bounded_increments : {False, True, "hidden"}
        As for `derive`.
    """

    def __init__(self, network, symbols, loss, constants, identify_random_features=True, bounded_increments=False):
        self.network, self.symbols, self.loss, self.constants = network, symbols, loss, constants
        self.seen, self.bounded = identify_random_features, bounded_increments
        self._limits = {}

    def _form(self, expression):
        return branching.form(expression, self.symbols)

    @functools.cached_property
    def branches(self):
        """Loss derivatives of order one; if they are unbounded, also those that follow initial logits that diverge."""
        if self.loss.bounded:
            return (self._branch(self.network, []),)
        initial = self.network.logits()
        kernels = self.network.kernels(dict.fromkeys(self.network.layers, ZERO))
        feedback = [(tuple(-v for v in self._form(e)), ">=") for e in kernels.values()]
        below = (tuple(-v for v in self._form(initial)), ">=")
        return (
            self._branch(self.network, [*feedback, below]),
            self._branch(replace(self.network, gain=initial), [*feedback, (self._form(initial), ">")]),
        )

    def _branch(self, network, region):
        """Where no circuit of the max-plus linear part of the recursion grows: layers that grow one at a time."""
        size = len(self.symbols)
        unknowns = {layer: sympy.Symbol(f"u_{layer}") for layer in network.layers}
        grown = dict.fromkeys(network.layers, ZERO)
        updated = {layer: set() for layer in network.layers}
        for source, symbol in unknowns.items():
            for target, exponent in network.increments(grown | {source: symbol}).items():
                updated[target].add(exponent)
        circuits, region = [], list(region)
        for path, weight in sorted(scaling.circuits(scaling.transfer(updated, unknowns)), key=lambda c: len(c[0])):
            above = self._form(weight)
            if arrangements.witness([*region, (above, ">")], size):
                circuits.append((path, weight))
                region.append((tuple(-v for v in above), ">="))
        first = network.increments(grown)
        bounded = {False: (), True: network.layers, "hidden": network.layers[:-1]}[self.bounded]
        region += [(tuple(-v for v in self._form(first[layer])), ">=") for layer in bounded]
        return _Branch(network, tuple(circuits), tuple((arrangements.primitive(f), relation) for f, relation in region))

    @property
    def band(self):
        """Where training is stable and leaves the initial logits, as a sympy condition."""
        parts = []
        for branch in self.branches:
            region = irredundant(list(dict.fromkeys(branch.region)), len(self.symbols))
            lower = self._largest(self._edges(branch), ">=")
            parts.append(sympy.And(*(as_relation(bound, self.symbols) for bound in region), lower))
        return sympy.Or(*parts)

    def _edges(self, branch):
        network = branch.network
        kernels = network.kernels(dict.fromkeys(network.layers, ZERO))
        return [e + network.gain - network.logits() for e in kernels.values()]

    def _largest(self, exponents, relation):
        """The statement that the largest exponent is zero, or is not negative."""
        forms = list(dict.fromkeys(map(self._form, exponents)))
        if len(forms) == 1:
            return as_relation((arrangements.primitive(forms[0]), relation), self.symbols)
        return {"=": sympy.Eq, ">=": sympy.Ge}[relation](sympy.Max(*exponents), 0, evaluate=False)

    @functools.cached_property
    def pieces(self):
        """All pieces of the band (list of (_Branch, branching.Piece))."""
        found = []
        for branch in self.branches:
            program = functools.partial(count_powers, branch.network, self.seen)
            found += [(branch, piece) for piece in branching.pieces(program, self.symbols, branch.region) if piece.result]
        return found

    def at(self, point, tolerance=0):
        """Signature, branch and the point moved so that forms within `tolerance` vanish; None where training is not stable."""
        for branch in self.branches:
            program = functools.partial(count_powers, branch.network, self.seen)
            faces = [form for form, _ in branch.region]
            near = branching.snapped(point, faces, tolerance)
            if _inside(branch.region, near):
                answers = branching.Point(self.symbols, near)
                program(answers)
                nearer = branching.snapped(near, [*faces, *answers.asked], tolerance)
                near = nearer if _inside(branch.region, nearer) else near
                outcome = program(branching.Point(self.symbols, near))
                return outcome and (outcome.signature, branch, near)
        return None

    def name(self, signature):
        """Name of a class: its number is the place of its signs among those that its regime has with one common rate."""
        return f"{signature.prefix(self.network.layers)}{self._pairs[signature.regime].index((signature.initial, signature.trained)) + 1}"

    @functools.cached_property
    def _pairs(self):
        common = self if len(self.symbols) == 2 else _model(len(self.network.layers) - 1, "common", self.loss)
        pairs = {}
        for _, piece in common.pieces:
            signature = piece.result.signature
            pairs.setdefault(signature.regime, set()).add((signature.initial, signature.trained))
        return {regime: sorted(found) for regime, found in pairs.items()}

    def classify(self, point, tolerance=0):
        """The class at exponents given as fractions, in the order of `symbols`; None where training is not stable."""
        found = self.at(point, tolerance)
        if found is None:
            return None
        signature, branch, near = found
        if signature not in self._limits:
            self._limits[signature] = self._limit(branch, self._around(branch, signature, near))
        return self._limits[signature]

    def _around(self, branch, signature, point):
        """The pieces of a class, from one to the next across the faces of each."""
        program = functools.partial(count_powers, branch.network, self.seen)
        pieces, points = {}, [point]
        while points:
            start = points.pop()
            if any(_inside(p.constraints, start) for p in pieces.values()):
                continue
            piece = branching.piece(program, self.symbols, branch.region, start)
            if piece.result is None or piece.result.signature != signature:
                continue
            pieces[piece.constraints] = piece
            bounds = self._bounds([piece])
            for bound in bounds:
                others = [b for b in bounds if b != bound]
                for across in ("=",) if bound[1] == ">" else ("<", ">") if bound[1] == "=" else ("<",):
                    form = tuple(-v for v in bound[0]) if across == "<" else bound[0]
                    beyond = arrangements.witness([*branch.region, *others, (form, "=" if across == "=" else ">")], len(self.symbols))
                    points += [beyond] if beyond else []
        return list(pieces.values())

    def _tight(self, piece):
        """The constraints of a piece, with those that hold with equality throughout as equations."""
        bounds = {}
        for form, relation in piece.constraints:
            form = arrangements.primitive(form)
            if relation == ">=" and not arrangements.value(form, piece.witness):
                relation = ">=" if self._meets(piece, form, ">") else "="
            if relation != "=" or (tuple(-v for v in form), "=") not in bounds:
                bounds[form, relation] = None
        return list(bounds)

    def _meets(self, piece, form, relation):
        return _inside([(form, relation)], piece.witness) or bool(
            arrangements.witness([*piece.constraints, (form, relation)], len(self.symbols))
        )

    def _bounds(self, pieces):
        """Irredundant constraints of the convex union of pieces."""
        tight = [self._tight(piece) for piece in pieces]
        if len(pieces) == 1:
            return irredundant(tight[0], len(self.symbols))
        bounds = {}
        for form, relation in itertools.chain.from_iterable(tight):
            for side in (form, tuple(-v for v in form)) if relation == "=" else (form,):
                below = tuple(-v for v in side)
                if not any(self._meets(piece, below, ">") for piece in pieces):
                    bounds[side] = ">=" if any(self._meets(piece, side, "=") for piece in pieces) else ">"
        joined = {}
        for form, relation in bounds.items():
            below = tuple(-v for v in form)
            if below not in joined:
                joined[form] = "=" if below in bounds else relation
        return irredundant(list(joined.items()), len(self.symbols))

    def _pruned(self, exponents, bounds, point):
        """As `scaling.prune`, faster: leave out first what never exceeds the exponent that is largest at a point."""
        if len(exponents) == 1:
            return exponents
        values = {e: arrangements.value(self._form(e), point) for e in exponents}
        top = min((e for e in exponents if values[e] == max(values.values())), key=lambda e: (e.count_ops(), sympy.default_sort_key(e)))
        rest = {e for e in exponents if arrangements.witness([*bounds, (self._form(e - top), ">")], len(self.symbols))}
        return scaling.prune({top, *rest}, bounds, self.symbols)

    def _limit(self, branch, pieces):
        """The class that consists of these pieces."""
        outcome = pieces[0].result
        signature, symbols = outcome.signature, self.symbols
        bounds = self._bounds(pieces)
        rank, widest = min((arrangements.rank([f for f, relation in self._tight(p) if relation == "="]), j) for j, p in enumerate(pieces))
        witness = pieces[widest].witness
        exponents = {}
        for name in outcome.exponents:
            found = frozenset().union(*(p.result.exponents[name] for p in pieces))
            exponents[name] = reduced(sympy.Max(*self._pruned(found, bounds, witness)), bounds, witness, symbols)
        depth = len(self.network.layers) - 1
        survive = (
            deep_equations.feature_regime(depth, self.constants, dict(signature.layers))
            if signature.evolves
            else deep_equations.kernel_regime(depth, self.constants, signature.acting, signature.persists)
        )
        return LimitClass(
            name=self.name(signature),
            regime=_REGIMES[REGIMES[signature.regime]],
            layers=signature.acting,
            forgotten=signature.forgotten,
            dimension=len(symbols) - rank,
            conditions=tuple(as_relation(b, symbols) for b in bounds),
            properties=outcome.properties,
            signs=(signature.initial, signature.trained),
            witness=tuple(sympy.Rational(v.numerator, v.denominator) for v in witness),
            exponents=exponents,
            rules=(self.loss.rule(signature.initial), self.loss.rule(signature.trained)),
            equations=deep_equations.initial_function(depth) | _loss_derivatives(self.loss, signature.initial, signature.trained) | survive,
            reasons=_reasons(branch, self.loss, signature, exponents),
            bounds=tuple(bounds),
        )

    def derivation(self):
        """All classes, in the order of regime, layers and signs."""
        groups = {}
        for branch, piece in self.pieces:
            groups.setdefault(piece.result.signature, (branch, []))[1].append(piece)
        for signature, (branch, pieces) in groups.items():
            if signature not in self._limits:
                self._limits[signature] = self._limit(branch, pieces)
        classes = tuple(self._limits[signature] for signature in sorted(groups))
        return Derivation(self.loss, self.symbols, self.band, self._lines(), classes, tuple(piece for _, piece in self.pieces))

    def _lines(self):
        branch, zero = self.branches[0], dict.fromkeys(self.network.layers, ZERO)
        moving = set()
        for owner, piece in self.pieces:
            if owner is branch:
                moving.update(*(piece.result.exponents[f"increments of {layer}"] for layer in self.network.layers[:-1]))
        sets = {
            INITIAL: [self.network.logits()],
            KERNELS: self.network.kernels(zero).values(),
            PERSISTS: self._edges(branch),
        }
        lines = {name: self._largest(exponents, "=") for name, exponents in sets.items()}
        moving = scaling.prune(moving, branch.region, self.symbols)
        beyond = any(arrangements.witness([*branch.region, (self._form(e), ">")], len(self.symbols)) for e in moving)
        return lines | {EVOLVE: self._largest(moving, ">=" if beyond else "=")}


def _inside(constraints, point):
    return all(arrangements.holds(relation, arrangements.value(form, point)) for form, relation in constraints)


def _listed(layers):
    return ("layer " if len(layers) == 1 else "layers ") + ", ".join(layers)


def _reasons(branch, loss, signature, exponents):
    return argument(
        branch,
        loss,
        signature,
        exponents,
        circuit="of the layers' increments does not grow with the steps",
        initial="initial rows have mean zero, each matrix of d columns adds a centred sum",
        kernel="squared norms of what enters and leaves a layer are sums with a mean",
        acting=_listed(signature.acting),
        changes=_kernel_changes(signature, exponents),
    )


def _kernel_changes(signature, exponents):
    if not signature.evolves:
        change = exponents["relative kernel change"]
        return [Reason(f"the relative change of the kernel has exponent {change} < 0", "the kernel is stationary")]
    moved = {layer: exponents[f"increments of {layer}"] for layer in signature.acting}
    powers = ", ".join(f"{e} for layer {layer}" for layer, e in moved.items())
    moves = "moves, and with it" if len(moved) == 1 else "move, and with them"
    return [
        Reason(f"increments over initial weights have exponents {powers}", f"{_listed(signature.acting)} {moves} the kernel"),
        *(
            Reason(f"{moved[layer]} > 0", f"layer {layer} forgets its initial weights at step 1; until then no other layer moves")
            for layer in signature.forgotten
        ),
    ]


@functools.cache
def _model(depth, rates, loss, **options):
    layers = [str(j) for j in range(1, depth + 2)]
    common = rates == "common"
    exponents = [Q_ETA] * len(layers) if common else sympy.symbols([f"q_eta_{layer}" for layer in layers])
    constants = {layer: "" if common else f"_{layer}" for layer in layers}
    return Model(Network(Q_SIGMA, tuple(exponents)), (Q_SIGMA, *dict.fromkeys(exponents)), loss, constants, **options)


def model(depth, rates="common", loss="logistic", identify_random_features=True, bounded_increments=False):
    """The `Model` for `derive`, with the same parameters, made once."""
    return _model(depth, rates, LOSSES[loss](), identify_random_features=identify_random_features, bounded_increments=bounded_increments)


def derive(depth, rates="common", loss="logistic", identify_random_features=True, bounded_increments=False):
    """All limit models of a network with `depth` hidden layers.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    rates : {"common", "layer-wise"}
        One exponent of the reduced learning rate, or one for each weight layer.
    loss : {"logistic", "hinge", "mse", "softmax"}
    identify_random_features : bool
        Count a network of which only the readout moves once, whether or not its increments reach its initial weights.
    bounded_increments : {False, True, "hidden"}
        Count only dynamics in which no layer, or no layer but the readout, forgets its initial weights.

    Returns
    -------
    Derivation
    """
    return model(depth, rates, loss, identify_random_features, bounded_increments).derivation()


def from_abc(A, E):
    """Exponents (q_sigma, (q_eta_1, ..., q_eta_n)) of initial weights of size d^-A_l and raw rates d^-E_l.

    In an abc-parameterization A_l = a_l + b_l and E_l = 2 a_l + c_l.

    Parameters
    ----------
    A, E : sequence of int, fraction or str
        One for each of the n weight layers.

    Returns
    -------
    tuple of (Fraction, tuple of Fraction)

    Examples
    --------
    Standard parameterization of two hidden layers with one rate for all weights:

    >>> dmft.limits.from_abc(A=("0", "1/2", "1/2"), E=(1, 1, 1))
    (Fraction(-1, 1), (Fraction(-1, 1), Fraction(0, 1), Fraction(0, 1)))
    """
    A, E = (tuple(map(Fraction, v)) for v in (A, E))
    return -sum(A), tuple(2 * size - rate for size, rate in zip(A, E, strict=True))


def named_exponents(depth):
    """(A, E) of parameterizations that have a name, for a number of hidden layers (dict of {str: (tuple, tuple)})."""
    half, hidden, n = Fraction(1, 2), depth - 1, depth + 1
    mup = (-1, *[0] * hidden, 1)

    def sizes(inner, readout):
        return (0, *[inner] * hidden, readout)

    integrable = sizes(1, 1)
    return {
        "NTK": (sizes(half, half), (0, *[1] * hidden, 1)),
        "muP": (sizes(half, 1), mup),
        "sym-default": (sizes(half, half), tuple(2 * size - half for size in sizes(half, half))),
        "muP, readout smaller by d^-1/2": (sizes(half, 3 * half), mup),
        "SP, rate 1/d": (sizes(half, half), (1,) * n),
        "SP, rate d^-1/2": (sizes(half, half), (half,) * n),
        "SP, rate 1": (sizes(half, half), (0,) * n),
        "integrable": (integrable, mup),
        "integrable, equal increments": (integrable, tuple(2 * size - Fraction(n, 2) for size in integrable)),
    }
