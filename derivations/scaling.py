"""Orders of magnitude in the width d as max-plus exponents, with the parity that decides how a sum over d neurons grows.

A quantity of order d^max(e_1, e_2, ...) is a set of exponents, each a linear form (sympy) of the scaling exponents: a sum of
quantities is the union of the sets, a product adds exponents pairwise. The weights of every neuron are drawn anew, and the law of
the output weight is symmetric; so an `Order` keeps apart what is even and what is odd in the initial output weight: a sum over the
neurons of even terms has a mean and grows like d (law of large numbers), of odd terms it is centred and grows like d^(1/2)
(central limit theorem).

Source: docs/theory/shallow_limits.md, section 2 (lemmas 1-3); arXiv 2006.06574.
"""

from dataclasses import dataclass

import sympy

from . import arrangements

#: Exponents of a sum of d terms, independent to leading order: with a mean, and centred.
MEAN = sympy.Integer(1)
CENTRED = sympy.Rational(1, 2)


@dataclass(frozen=True)
class Order:
    """Order of magnitude of one neuron's quantity. An empty set of exponents stands for zero.

    Attributes
    ----------
    even, odd : frozenset of sympy.Expr
        Exponents of the parts that are even and odd in the initial output weight.
    """

    even: frozenset = frozenset()
    odd: frozenset = frozenset()

    def __add__(self, other):
        return Order(self.even | other.even, self.odd | other.odd)

    def __mul__(self, other):
        return Order(
            _sums(self.even, other.even) | _sums(self.odd, other.odd),
            _sums(self.even, other.odd) | _sums(self.odd, other.even),
        )

    @property
    def exponents(self):
        """Exponents whatever the parity."""
        return self.even | self.odd

    def summed(self):
        """Exponents of the sum over the d neurons."""
        return _sums(self.even, {MEAN}) | _sums(self.odd, {CENTRED})

    def pruned(self, region, symbols):
        """The same order on a region, without the exponents that are largest nowhere in it."""
        return Order(prune(self.even, region, symbols), prune(self.odd, region, symbols))


def power(exponent):
    """The order d^exponent of something that is the same for all neurons."""
    return Order(even=frozenset({sympy.sympify(exponent)}))


def _sums(left, right):
    return frozenset(sympy.expand(a + b) for a in left for b in right)


def prune(exponents, region, symbols):
    """The exponents without those that exceed all others nowhere in `region`, the constraints of `arrangements.witness`.

    Of exponents that are equal on the region one is kept, the shortest.
    """
    longest_first = sorted(exponents, key=lambda e: (-e.count_ops(), sympy.default_sort_key(e)))
    forms = {e: arrangements.affine(e, symbols) for e in longest_first}
    for exponent in list(forms):
        form = forms.pop(exponent)
        larger = [(tuple(a - b for a, b in zip(form, other)), ">") for other in forms.values()]
        if not forms or arrangements.witness([*region, *larger], len(symbols)) is not None:
            forms[exponent] = form
    return frozenset(forms)


def transfer(updated, unknowns):
    """Edges of the max-plus linear map that sends the exponents `unknowns` to the exponents `updated`.

    Parameters
    ----------
    updated : dict of {str: frozenset of sympy.Expr}
        New exponents of every unknown, each containing at most one of the unknowns, once.
    unknowns : dict of {str: sympy.Symbol}

    Returns
    -------
    dict of {(str, str): frozenset of sympy.Expr}
        Weights from source to target. Exponents without an unknown feed no circuit and are left out.
    """
    edges = {}
    for target, exponents in updated.items():
        for source, symbol in unknowns.items():
            weights = frozenset(sympy.expand(e - symbol) for e in exponents if e.coeff(symbol))
            if any(w.free_symbols & set(unknowns.values()) for w in weights):
                raise ValueError(f"the update of {target} is not max-plus linear")
            if weights:
                edges[source, target] = weights
    return edges


def circuits(edges):
    """Elementary circuits of a max-plus linear map and their weights.

    Iterates of the map stay bounded if and only if no weight is positive; the limit is then reached in as many steps as there are
    unknowns (Kleene star).

    Returns
    -------
    list of (tuple of str, sympy.Expr)
        Nodes in the order of the walk, sum of the weights; a set of parallel edges gives one circuit for each.
    """
    nodes = sorted({node for edge in edges for node in edge})
    found = []

    def walk(path, weight):
        for node in nodes:
            for step in sorted(edges.get((path[-1], node), ()), key=sympy.default_sort_key):
                if node == path[0]:
                    found.append((path, sympy.expand(weight + step)))
                elif node > path[0] and node not in path:
                    walk((*path, node), weight + step)

    for start in nodes:
        walk((start,), sympy.Integer(0))
    return found
