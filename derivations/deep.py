"""Exponents of the width in networks with L hidden layers, from the forward pass, the backward pass and the gradient step.

    h^1 = W^1 xi,  h^l = W^l phi(h^{l-1}) + b^l,  f = W^{L+1} phi(h^L),      Delta W^l = -eta m^(-E_l) dLoss/dW^l,

with initial entries of order m^(-A_l). What is put in is these lines, the way in which a Gaussian matrix acts on vectors that depend on
it (a Gaussian vector, and for each vector seen before a multiple of its image: conditioning), and law of large numbers or central
limit theorem by the parities of `signals`. The derivative of the loss by f is of order one, inputs are of order one and not orthogonal.

In the abc convention W^l = m^(-a_l) w^l, w^l(0) ~ N(0, m^(-2 b_l)), rate m^(-c_l): only A_l = a_l + b_l and E_l = 2 a_l + c_l matter.

Source: docs/theory/deep_parameterizations.md, sections 1 and 2; arXiv 2011.14522; arXiv 2110.15596.
"""

from dataclasses import dataclass
from fractions import Fraction

from . import signals
from .shallow import Reason
from .signals import CENTRED, CONSTANT, ZERO, ZERO_ORDER, Signal, correlated, overlap, single

MEAN = 1  # a sum over m neurons with a mean is of order m (LLN), a centred one of order m^CENTRED (CLT)
_FORWARD, _BACKWARD, _BIAS, _LATER = 1, 2, 4, 8  # bits of the random vectors of a layer: W_0 x_0, W_0^T dh_0, bias, first later one


@dataclass(frozen=True)
class Scaling:
    """Sizes and rates of the L + 1 weight matrices by powers of the width; each attribute is a tuple with one entry per matrix.

    Attributes
    ----------
    size : tuple of Fraction
        A_l; initial entries are of order m^(-A_l).
    rate, rate_later : tuple of Fraction
        E_l of the first step and of the others.
    size_later : tuple of Fraction
        A_l of what is kept of the initial weights after the first step.
    mean : tuple of Fraction or None
        Entries have a mean of order m^(-mean); None: no mean.
    bias : tuple of Fraction or None
        Initial biases are of order m^(-bias); None: no bias.
    bias_rate, bias_rate_later : tuple of Fraction
        As `rate`, of the biases.
    """

    size: tuple
    rate: tuple
    rate_later: tuple
    size_later: tuple
    mean: tuple
    bias: tuple
    bias_rate: tuple
    bias_rate_later: tuple

    @property
    def depth(self):
        """Number of hidden layers L."""
        return len(self.size) - 1

    def rates(self, step):
        return self.rate_later if step else self.rate

    def bias_rates(self, step):
        return self.bias_rate_later if step else self.bias_rate


def scaling(size, rate, rate_later=None, size_later=None, mean=None, bias=None, bias_rate=None, bias_rate_later=None):
    """A `Scaling`; what is not given is absent, or later as at first."""
    size, rate = tuple(size), tuple(rate)
    absent, at_rest = (None,) * len(size), (0,) * len(size)
    bias_rate = tuple(bias_rate or at_rest)
    return Scaling(
        size,
        rate,
        tuple(rate_later or rate),
        tuple(size_later or size),
        tuple(mean or absent),
        tuple(bias or absent),
        bias_rate,
        tuple(bias_rate_later or bias_rate),
    )


def invariants(a, b, c):
    """(A, E) of exponents in the abc convention, layer by layer."""
    return tuple(x + y for x, y in zip(a, b, strict=True)), tuple(2 * x + z for x, z in zip(a, c, strict=True))


@dataclass(frozen=True)
class Exponent:
    """The order m^value of one signal.

    Attributes
    ----------
    signal : str
        "h", "x", "dx", "dh" (derivatives of the loss), "f"; "change of h", "change of f" since initialization; "update of h",
        "update of f": the part of the change due to the layer's own weights and bias; "spread of h": differences between neurons.
    layer, step : int
        Layer L + 1 is the readout; step counts the updates made.
    value : Fraction or -inf
    terms : tuple of (str, Fraction)
        What adds up to it, largest first.
    """

    signal: str
    layer: int
    step: int
    value: Fraction
    terms: tuple

    @property
    def reason(self):
        causes = " and ".join(text for text, value in self.terms if value == self.value) or "nothing contributes"
        where = "" if self.signal.endswith("f") else f" in layer {self.layer}"
        return Reason(causes, f"{self.signal}{where} at step {self.step} is of order {order(self.value)}")


def order(value):
    """A power of the width m as text."""
    return "0" if value == ZERO_ORDER else "1" if value == 0 else "m" if value == 1 else f"m^({value})"


@dataclass(frozen=True)
class Counting:
    """All exponents up to a number of steps.

    Attributes
    ----------
    scaling : Scaling
    activation : activations.ActivationClass
    steps : int
    exponents : tuple of Exponent
    """

    scaling: Scaling
    activation: object
    steps: int
    exponents: tuple

    def find(self, signal, layer, step):
        """One `Exponent`."""
        return next(e for e in self.exponents if (e.signal, e.layer, e.step) == (signal, layer, step))

    def value(self, signal, layer, step):
        """The value of one `Exponent`."""
        return self.find(signal, layer, step).value

    def values(self, signal, step):
        """Values of one signal, layer by layer."""
        return tuple(e.value for e in sorted(self.exponents, key=lambda e: e.layer) if (e.signal, e.step) == (signal, step))


@dataclass(frozen=True)
class _Moving:
    """A signal as the sum of what it was at initialization, if that is still a part of it of leading order, and its change."""

    base: Signal
    change: Signal = ZERO

    @property
    def total(self):
        return self.base | self.change

    def applied(self, function, activation):
        """The order of phi or phi' of the signal."""
        if not self.base.parts:
            return _Moving(ZERO, function(activation, self.change))
        change = function(activation, self.base, self.change) if self.change.parts else ZERO
        return _moving(function(activation, self.base), change)

    def __mul__(self, other):
        return _moving(self.base * other.base, self.change * other.total | self.base * other.change)


def _moving(base, change):
    return _Moving(ZERO, base | change) if change.size > base.size else _Moving(base, change)


class _Matrix:
    """An initial hidden matrix: its size, and for each direction the vectors that it was applied to, with the new part of the result."""

    def __init__(self, size, later, mean):
        self.size, self.shrinks, self.mean = size, size - later, mean
        self.seen = {False: [], True: []}
        self.first = {}

    def times(self, vector, step, transposed=False):
        """The order of the matrix, or its transpose, times a `_Moving` vector at a step."""
        if step == 0:
            self.first[transposed] = self._apply(vector.base, _BACKWARD if transposed else _FORWARD, transposed)
            return _Moving(self.first[transposed])
        change = self._apply(vector.change, _LATER * 4 ** (step - 1) * (1 + transposed), transposed).shifted(self.shrinks)
        if not vector.base.parts:
            return _Moving(ZERO, change)
        if self.shrinks:
            return _Moving(ZERO, change | self.first[transposed].shifted(self.shrinks))
        return _moving(self.first[transposed], change)

    def _apply(self, vector, fresh, transposed):
        """Conditioned on what was seen, a Gaussian vector, multiples of earlier images, and multiples of vectors on the other side."""
        new = single(fresh, CENTRED - self.size + vector.size)
        result = new if self.mean is None else new | CONSTANT.shifted(MEAN - self.mean + vector.mean)
        for argument, image in self.seen[transposed]:
            result |= image.shifted(overlap(argument, vector) - 2 * argument.size)
        for argument, image in self.seen[not transposed]:
            result |= argument.shifted(correlated(image, vector) - 2 * argument.size)
        if vector.parts:
            self.seen[transposed].append((vector, new))
        return result


@dataclass(frozen=True)
class _Step:
    """Signals at one step by layer."""

    h: dict
    x: dict
    dx: dict
    dh: dict


def power_counting(network, activation, steps=2):
    """Exponents of all signals at initialization and after 1, ..., `steps` updates.

    Parameters
    ----------
    network : Scaling
    activation : activations.ActivationClass
    steps : int
        Fewer are counted if phi is not homogeneous and a preactivation grows with the width: where phi saturates, signals are sparse
        and their coordinates of no common order.

    Returns
    -------
    Counting
    """
    depth = network.depth
    matrices = {k: _Matrix(network.size[k - 1], network.size_later[k - 1], network.mean[k - 1]) for k in range(2, depth + 1)}
    readout = single(_BACKWARD, -network.size[-1])
    if network.mean[-1] is not None:
        readout |= CONSTANT.shifted(-network.mean[-1])
    history, found = [], []
    for t in range(steps + 1):
        history.append(_Step({}, {}, {}, {}))
        for layer in range(1, depth + 1):
            found += _forward(network, activation, matrices.get(layer), history, layer)
        found += _logits(network, readout, history, found)
        if t == steps or (activation.degree is None and any(h.total.size > 0 for h in history[-1].h.values())):
            return Counting(network, activation, t, tuple(found))
        for layer in range(depth, 0, -1):
            found += _backward(network, activation, readout, matrices.get(layer + 1), history, layer)


def _forward(network, activation, matrix, history, layer):
    *past, now = history
    t, initial_bias = len(past), network.bias[layer - 1]
    if layer == 1:
        product = _Moving(single(_FORWARD, -network.size[0]))
        source = f"W_0 times an input of fixed dimension: {-network.size[0]}"
    else:
        product = matrix.times(now.x[layer - 1], t)
        source = "W_0 x" if t == 0 else "W_0 times the change of x" if now.x[layer - 1].base.parts else "W_0 x, initial x forgotten"
        if t == 0:
            source += f", a centred sum: 1/2 - {network.size[layer - 1]} + ({now.x[layer - 1].base.size})"
            source += "" if matrix.mean is None else f"; mean of W_0 and of x: 1 - {matrix.mean} + ({now.x[layer - 1].base.mean})"
    bias = ZERO if initial_bias is None else single(_BIAS, -initial_bias)
    if t == 0:
        now.h[layer] = _Moving(product.base | bias)
        now.x[layer] = now.h[layer].applied(signals.activate, activation)
        terms = [(source, product.base.size), ("initial bias", bias.size)]
        return [_exponent("h", layer, t, now.h[layer].base.size, terms), _spread(now, layer, t), _x(activation, now, layer, t)]
    own, updates = ZERO, []
    for s, before in enumerate(past):
        rate, overlapping, text = network.rates(s)[layer - 1], 0, ""
        if layer > 1:
            overlapping, text = _sum(before.x[layer - 1], now.x[layer - 1], "x")
        update = before.dh[layer].total.shifted(overlapping - rate)
        updates.append((f"update {s + 1} of W: {-rate}{_plus(before.dh[layer].total.size, 'of dh')}{text}", update.size))
        own |= update
        if initial_bias is not None:
            update = before.dh[layer].total.shifted(-network.bias_rates(s)[layer - 1])
            updates.append((f"update {s + 1} of the bias", update.size))
            own |= update
    now.h[layer] = _moving(product.base | bias, product.change | own)
    now.x[layer] = now.h[layer].applied(signals.activate, activation)
    start = history[0].h[layer].base.size
    kept = [("h at initialization", start)]
    terms = [*updates, (source, product.change.size)]
    return [
        _exponent("update of h", layer, t, own.size, updates),
        _exponent("change of h", layer, t, None, terms if product.base.parts else [*terms, *kept]),
        _exponent("h", layer, t, now.h[layer].total.size, [*terms, *kept] if product.base.parts else terms),
        _spread(now, layer, t),
        _x(activation, now, layer, t),
    ]


def _spread(now, layer, step):
    spread = now.h[layer].total.spread
    return _exponent("spread of h", layer, step, spread, [("the part of h that is not the same for all neurons", spread)])


def _sum(left, right, name):
    """Exponent of a sum over the neurons of a product of two signals, and how it comes about."""
    exponent, aligned = overlap(left.total, right.total), left.total.size + right.total.size
    note = "" if exponent == aligned else f", {exponent - aligned} by symmetry"
    return MEAN + exponent, f" + 1{_plus(exponent, f'of the overlap of {name}{note}')}"


def _plus(exponent, name):
    return f" {'-' if exponent < 0 else '+'} {abs(exponent)} {name}"


def _x(activation, now, layer, step):
    size = now.h[layer].total.size
    if activation.degree is not None:
        why = f"phi is homogeneous of degree {activation.degree}"
    elif size > 0:
        why = f"phi grows like z^{activation.growth}"
    else:
        why = "phi(0) != 0" if activation.offset else "phi(0) = 0 and phi'(0) != 0"
    return _exponent("x", layer, step, now.x[layer].total.size, [(f"{why}, h is {order(size)}", now.x[layer].total.size)])


def _logits(network, readout, history, found):
    *past, now = history
    depth, out, t, bias = network.depth, network.depth + 1, len(past), network.bias[-1]
    x = now.x[depth]
    if t == 0:
        terms = [("W_0 x, a sum over the neurons", MEAN + overlap(readout, x.base))]
        return [_exponent("f", out, t, None, terms if bias is None else [*terms, ("initial bias", -bias)])]
    updates = []
    for s, before in enumerate(past):
        exponent, text = _sum(before.x[depth], x, "x")
        updates.append((f"update {s + 1} of W: {-network.rates(s)[-1]}{text}", exponent - network.rates(s)[-1]))
        if bias is not None:
            updates.append((f"update {s + 1} of the bias", -network.bias_rates(s)[-1]))
    shrunk = network.size[-1] - network.size_later[-1]
    source = "W_0 times the change of x" if x.base.parts else "W_0 x, initial x forgotten"
    terms = [*updates, (source, MEAN + overlap(readout, x.change) + shrunk)]
    initial = next(e.value for e in found if (e.signal, e.step) == ("f", 0))
    lost, kept = [("f at initialization", initial)], [("f at initialization", initial + shrunk)] if x.base.parts else []
    return [
        _exponent("update of f", out, t, None, updates),
        _exponent("change of f", out, t, None, [*terms, *lost] if shrunk or not kept else terms),
        _exponent("f", out, t, None, [*terms, *kept]),
    ]


def _backward(network, activation, readout, matrix, history, layer):
    *past, now = history
    t = len(past)
    if matrix is None:
        shrunk = network.size[-1] - network.size_later[-1] if past else 0
        product = _Moving(ZERO, readout.shifted(shrunk)) if shrunk else _Moving(readout)
        source = f"readout weights: {product.total.size}"
    else:
        product = matrix.times(now.dh[layer + 1], t, transposed=True)
        source = "W_0^T dh" if t == 0 else "W_0^T dh, of initial dh and of its change"
        if t == 0:
            source += f", a centred sum: 1/2 - {matrix.size} + ({now.dh[layer + 1].base.size})"
            source += "" if matrix.mean is None else f"; mean of W_0 and of dh: 1 - {matrix.mean} + ({now.dh[layer + 1].base.mean})"
    updated, terms = ZERO, [(source, product.total.size)]
    for s, before in enumerate(past):
        exponent, text = (0, "") if matrix is None else _sum(before.dh[layer + 1], now.dh[layer + 1], "dh")
        update = before.x[layer].total.shifted(exponent - network.rates(s)[layer])
        terms.append((f"update {s + 1} of W: {-network.rates(s)[layer]}{_plus(before.x[layer].total.size, 'of x')}{text}", update.size))
        updated |= update
    now.dx[layer] = _moving(product.base, product.change | updated)
    now.dh[layer] = now.dx[layer] * now.h[layer].applied(signals.slope, activation)
    slope = now.h[layer].applied(signals.slope, activation).total.size
    size = now.dh[layer].total.size
    return [
        _exponent("dx", layer, t, now.dx[layer].total.size, terms),
        _exponent("dh", layer, t, size, [(f"dx is {order(now.dx[layer].total.size)}, phi'(h) is {order(slope)}", size)]),
    ]


def _exponent(signal, layer, step, value, terms):
    """An `Exponent`; of the size of the largest term if no value is given."""
    present = tuple(sorted((term for term in terms if term[1] != ZERO_ORDER), key=lambda term: -term[1]))
    return Exponent(signal, layer, step, max((e for _, e in present), default=ZERO_ORDER) if value is None else value, present)
