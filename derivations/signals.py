"""Orders of magnitude of the signals of one layer, kept apart by how they change when an initial random vector changes its sign.

Every layer is driven by independent symmetric random vectors: the forward Gaussians W_0 x_0, the backward Gaussians W_0^T delta_0, the
initial biases, and what the initial weights make of later changes. A product of an odd number of a vector is odd in it. The mean over
the m neurons of a product of two signals is of their own order if both contain a part of the same parities (law of large numbers);
otherwise it is centred and smaller by m^(-1/2) (central limit theorem). This is what rules R2, R3 and R6 say case by case.
Accidental zeros of means that no symmetry explains are not seen.

Source: docs/theory/deep_parameterizations.md, section 2.1; arXiv 2011.14522; arXiv 2110.15596.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

ZERO_ORDER = -math.inf
CENTRED = Fraction(1, 2)


@dataclass(frozen=True)
class Signal:
    """Exponents of the width of the parts of a signal; the empty signal is zero.

    Attributes
    ----------
    parts : dict of {int: Fraction}
        Parities to exponent; bit j of the key says whether the part is odd in random vector j. Key 0, even in all, has a mean over the
        neurons; so has key `SAME`, a part that is the same for all neurons.
    """

    parts: dict = field(default_factory=dict)

    def __or__(self, other):
        """The order of a sum."""
        parts = dict(self.parts)
        for parity, exponent in other.parts.items():
            _raise_to(parts, parity, exponent)
        return Signal(parts)

    def __mul__(self, other):
        """The order of a product, neuron by neuron."""
        parts = {}
        for p, e in self.parts.items():
            for q, f in other.parts.items():
                _raise_to(parts, _product(p, q), e + f)
        return Signal(parts)

    def shifted(self, exponent):
        """The signal times m^exponent."""
        return ZERO if exponent == ZERO_ORDER else Signal({p: e + exponent for p, e in self.parts.items()})

    @property
    def size(self):
        """Exponent of a coordinate."""
        return max(self.parts.values(), default=ZERO_ORDER)

    @property
    def spread(self):
        """Exponent of the differences between neurons."""
        return max((e for parity, e in self.parts.items() if parity != SAME), default=ZERO_ORDER)

    @property
    def mean(self):
        """Exponent of the mean over the neurons."""
        return overlap(self, CONSTANT)


def single(parity, exponent):
    """A signal with one part."""
    return ZERO if exponent == ZERO_ORDER else Signal({parity: exponent})


ZERO = Signal()
SAME = -1
CONSTANT = Signal({SAME: Fraction(0)})


def _product(left, right):
    """Parities of a product; `SAME` is its unit."""
    return right if left == SAME else left if right == SAME else left ^ right


def _raise_to(parts, key, exponent):
    if parts.get(key, ZERO_ORDER) < exponent:
        parts[key] = exponent


def correlated(left, right):
    """Exponent of the mean of the product if only parts of the same parities have one."""
    parts = {}
    for parity, exponent in right.parts.items():
        _raise_to(parts, max(parity, 0), exponent)
    return max((e + parts[max(p, 0)] for p, e in left.parts.items() if max(p, 0) in parts), default=ZERO_ORDER)


def overlap(left, right):
    """Exponent of <left, right>/m."""
    return max(correlated(left, right), left.size + right.size - CENTRED)


def activate(activation, preactivation, change=None):
    """The order of phi(h), or of phi(h + change) - phi(h) if a change is given."""
    if activation.linear:
        return preactivation if change is None else change
    largest, power = _scale(activation, preactivation, change, activation.degree, activation.growth)
    return _series(preactivation, change, largest, not activation.odd, True, activation.offset).shifted(power)


def slope(activation, preactivation, change=None):
    """The order of phi'(h), or of phi'(h + change) - phi'(h) if a change is given; smooth phi' at arguments that do not grow."""
    if activation.linear:
        return CONSTANT if change is None else ZERO
    degree = None if activation.degree is None else activation.degree - 1
    largest, power = _scale(activation, preactivation, change, degree, 0)
    return _series(preactivation, change, largest, True, not activation.odd, True).shifted(power)


def _scale(activation, preactivation, change, degree, growth):
    """Exponent by which arguments are divided before the expansion, and exponent by which its result is multiplied."""
    largest = max(preactivation.size, ZERO_ORDER if change is None else change.size)
    if activation.degree is not None:
        return largest, degree * largest
    return (largest, growth * largest) if largest > 0 else (0, 0)


def _series(argument, change, largest, even_degrees, odd_degrees, constant):
    """All monomials of a generic function of `argument` (+ `change`, then those that contain it), of the allowed degrees.

    No argument exceeds m^largest, so a monomial needs no part more than twice.
    """
    products = {}  # (parity, whether the degree is odd, whether it contains the change) -> exponent
    for changed, signal in ((False, argument), (True, change or ZERO)):
        for parity, exponent in signal.parts.items():
            e, longer = exponent - largest, dict(products)
            _raise_to(longer, (parity, True, changed), e)
            _raise_to(longer, (_product(parity, parity), False, changed), 2 * e)
            for (p, odd, c), f in products.items():
                _raise_to(longer, (_product(p, parity), not odd, c or changed), f + e)
                if changed:
                    _raise_to(longer, (_product(p, _product(parity, parity)), odd, True), f + 2 * e)
            products = longer
    parts = {SAME: Fraction(0)} if constant and change is None else {}
    for (parity, odd, changed), exponent in products.items():
        if changed == (change is not None) and (odd_degrees if odd else even_degrees):
            _raise_to(parts, parity, exponent)
    return Signal(parts)
