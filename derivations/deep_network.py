"""A network of any depth in orders of magnitude, and what power counting makes of it at one choice of exponents.

Signals grow layer by layer, an update acts on them as an outer product, and kernels are products of squared norms. The increments
obey a max-plus recursion in the steps, which is iterated to its fixed point; every comparison is left to an oracle (`branching`), so
that the same lines serve a point and a region.

Source: docs/theory/deep_classes.md, section 2.
"""

from dataclasses import dataclass

import sympy

from .limit_classes import EVOLVE, INITIAL, KERNELS, PERSISTS, PROPERTIES, REGIMES, Signature
from .scaling import CENTRED, MEAN

ZERO = sympy.Integer(0)


class Growth(Exception):
    """Increments that grow with the number of steps."""


@dataclass(frozen=True)
class Network:
    """The model in orders of magnitude.

    The growth of layer l, `growth[l]`, is the exponent of what its weights do to a signal over what the initial ones do, not
    negative: a sum is as large as its largest term. By homogeneity signals grow by it forward and backward.

    Attributes
    ----------
    scale : sympy.Expr
        Exponent of sigma.
    rates : tuple of sympy.Expr
        Exponents of the reduced learning rates, one for each weight layer.
    gain : sympy.Expr
        Exponent of the loss derivative.
    """

    scale: sympy.Expr
    rates: tuple
    gain: sympy.Expr = ZERO

    @property
    def layers(self):
        """Names of the weight layers."""
        return tuple(str(j) for j in range(1, len(self.rates) + 1))

    def forward(self, growth):
        """Exponents of the signal that enters each layer: initial rows are centred, so every hidden matrix adds a centred sum."""
        signal, entering = ZERO, {}
        for layer in self.layers:
            entering[layer] = signal
            signal += growth[layer] + (CENTRED if layer in self.layers[1:] else 0)
        return entering

    def backward(self, growth):
        """Exponents of df/dh over sigma for the output h of each layer, which is f over sigma itself for the last."""
        *hidden, readout = self.layers
        signal, leaving = growth[readout], {readout: ZERO}
        for layer in reversed(hidden):
            leaving[layer] = signal
            signal += growth[layer] + CENTRED
        return leaving

    def increments(self, growth):
        """Exponents of one more update of every layer, over its initial weights.

        The update is the outer product of what leaves and what enters. On a signal like that which entered, a hidden layer's update
        sums squares, with a mean, its initial rows a centred sum; the input has a fixed dimension, the readout a single row.
        """
        entering, leaving = self.forward(growth), self.backward(growth)
        driven = self.scale + self.gain
        return {
            layer: driven + rate + leaving[layer] + entering[layer] + (MEAN - CENTRED if layer in self.layers[1:-1] else 0)
            for layer, rate in zip(self.layers, self.rates)
        }

    def logits(self):
        """Exponent of the initial logits, a centred sum."""
        still = dict.fromkeys(self.layers, ZERO)
        return self.scale + self.forward(still)[self.layers[-1]] + CENTRED

    def kernels(self, growth):
        """Exponents of the tangent kernel of each layer: squared norms of what enters and of what leaves, sums with a mean."""
        entering, leaving = self.forward(growth), self.backward(growth)
        norms = {layer: MEAN * ((layer in self.layers[1:]) + (layer in self.layers[:-1])) for layer in self.layers}
        return {
            layer: 2 * self.scale + rate + 2 * entering[layer] + 2 * leaving[layer] + norms[layer]
            for layer, rate in zip(self.layers, self.rates)
        }

    def changes(self, layer):
        """The layers whose movement changes the kernel of a layer: by what enters, by what leaves, and by phi' behind the layer."""
        return self.layers[:-1] if layer == self.layers[-1] else self.layers


@dataclass(frozen=True)
class Outcome:
    """What power counting finds on a piece."""

    signature: Signature
    properties: tuple
    exponents: dict  # of sets: the largest counts


def _recursion(network, answers):
    """Exponents of the increments, to which the recursion converges, and the growth of the layers that goes with them."""
    total, growth = None, dict.fromkeys(network.layers, ZERO)
    for _ in range(len(network.layers) + 2):
        updates = network.increments(growth)
        grown = {layer: e if total is None or answers.exceeds(e, total[layer]) else total[layer] for layer, e in updates.items()}
        if grown == total:
            return total, growth
        total = grown
        growth = {layer: e if answers.exceeds(e, ZERO) else ZERO for layer, e in total.items()}
    raise Growth


def _kernel_changes(network, increments, growth, largest):
    """Exponents of the change of the tangent kernel over the largest one, where kernels are stationary.

    By the symmetry of the readout's law means change at second order in the increments, fluctuations of the sum over neurons at first
    order. Where phi has a kink, a fraction of its derivatives flips, of the order of the increments, with random sign.
    """
    smooth, kink = set(), set()
    for layer, kernel in network.kernels(growth).items():
        kernel -= largest
        for mover in network.changes(layer):
            u = increments[mover]
            smooth |= {kernel} if growth[mover] else {kernel + 2 * u, kernel + u + CENTRED - MEAN}
            if network.layers[-1] not in (layer, mover) and not growth[mover]:
                kink.add(kernel + (u - MEAN) * CENTRED)
    return smooth, kink


def count_powers(network, seen, answers):
    """Power counting at the point or on the piece for which `answers` speaks; None where the logits stay at initialization.

    With `seen`, the movement of a layer counts if it changes the tangent kernel, else always.
    """
    increments, growth = _recursion(network, answers)
    kernels, initial = network.kernels(growth), network.logits()
    largest = answers.largest(kernels)
    kernel = kernels[largest[0]]
    step = kernel + network.gain
    persists = answers.sign(step - initial)
    if persists < 0:
        return None
    movers = [m for m in network.layers if not seen or any(m in network.changes(layer) for layer in largest)]
    evolves = any(not answers.exceeds(ZERO, increments[m]) for m in movers)
    if evolves:
        regime, layers = "M", tuple((layer, answers.sign(e)) for layer, e in increments.items())
    else:
        regime, layers = "A" if persists else "F" if network.gain else "N", tuple((layer, 0) for layer in largest)
    signature = Signature(REGIMES.index(regime), layers, answers.sign(initial), answers.sign(step))
    holds = {INITIAL: signature.initial == 0, KERNELS: answers.sign(kernel) == 0, PERSISTS: signature.persists, EVOLVE: evolves}
    smooth, kink = ({ZERO},) * 2 if evolves else _kernel_changes(network, increments, growth, kernel)
    tied = {kernels[layer] for layer in largest}
    exponents = {
        "initial logits": {initial},
        "logits": {e + network.gain for e in tied},
        "tangent kernel": tied,
        "relative kernel change": smooth,
        "relative kernel change, phi with a kink": smooth | kink,
    }
    exponents |= {f"increments of {layer}": {e} for layer, e in increments.items()}
    return Outcome(signature, tuple(name for name in PROPERTIES if holds[name]), exponents)
