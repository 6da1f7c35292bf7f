"""What the exponents of a parameterization mean: stable or not, trivial or not, kernel regime or feature learning.

Source: docs/theory/deep_parameterizations.md, section 2; arXiv 2011.14522, section 3; arXiv 2110.15596.
"""

import functools
from dataclasses import dataclass

from . import deep, induction, polytope
from .polytope import FEATURES, KERNEL, TRIVIAL, UNSTABLE
from .shallow import Reason

_SETTLED = 8  # steps after which bounds that still move are taken to have no limit


@dataclass(frozen=True)
class Analysis:
    """Exponents and what follows from them.

    Attributes
    ----------
    counting : deep.Counting
    regime : {"unstable", "trivial", "kernel", "feature learning"}
    proven : bool
        Whether "trivial" holds at all fixed times; the other verdicts follow from the steps that are counted.
    classification : polytope.Classification or None
        By the theory of Yang and Hu, where it applies.
    verdict : tuple of Reason
    """

    counting: deep.Counting
    regime: str
    proven: bool
    classification: polytope.Classification | None
    verdict: tuple

    @property
    def network(self):
        """The `deep.Scaling`."""
        return self.counting.scaling

    @property
    def first_updates(self):
        """Exponents of what the first update of each layer's own weights and bias adds to its output, layer by layer."""
        return (*self.counting.values("update of h", 1), *self.counting.values("update of f", 1))

    @property
    def reasons(self):
        """Why the exponents at initialization and of the updates are what they are, then the verdict."""
        shown = [("h", 0), ("f", 0), ("dh", 0), *((f"{kind} of {s}", t) for t in (1, 2) for kind, s in (("update", "h"), ("change", "f")))]
        counted = [e.reason for pair in shown for e in self.counting.exponents if (e.signal, e.step) == pair]
        return (*counted, *self.verdict)


@functools.cache
def analyze(network, activation):
    """The `Analysis` of a `deep.Scaling` for a class of activations."""
    counting = deep.power_counting(network, activation)
    covered = polytope.applicable(network)
    classification = polytope.classify(network) if covered else None
    bounds = induction.aligned(network, activation, _SETTLED)
    proven = bounds.for_all_times and bounds.change_of_f < 0
    regime, verdict = _verdict(counting, proven, bounds)
    reasons = (*verdict, *_late(counting, regime), *_alike(counting, regime), *_yang_hu(classification))
    return Analysis(counting, regime, proven and regime == TRIVIAL, classification, reasons)


def _verdict(counting, proven, bounds):
    growing = [e for e in counting.exponents if e.signal in ("h", "f") and e.value > 0]
    if growing:
        first = min(growing, key=lambda e: (e.step, -e.value))
        return UNSTABLE, [Reason(first.reason.because, f"{first.reason.follows} and grows with the width: unstable")]
    changes = [counting.find("change of f", counting.scaling.depth + 1, t) for t in range(1, counting.steps + 1)]
    largest = max(changes, key=lambda e: e.value)
    if largest.value < 0:
        then = "trivial: the logits stay where they were"
        if proven:
            size = deep.order(bounds.change_of_f)
            return TRIVIAL, [Reason(f"even with all overlaps aligned the logits change by {size} at all times", then)]
        size = deep.order(largest.value)
        return TRIVIAL, [Reason(f"the logits change by {size} in {counting.steps} steps", f"{then} at these steps")]
    because = Reason(f"no signal grows with the width, and logits change by order one at step {largest.step}", "stable and nontrivial")
    moved = [e for e in counting.exponents if e.signal == "change of h" and e.value == 0]
    if not moved:
        size = max(e.value for e in counting.exponents if e.signal == "change of h")
        return KERNEL, [because, Reason(f"preactivations change by {deep.order(size)} only", "kernels are stationary: kernel regime")]
    layers = ", ".join(map(str, sorted({e.layer for e in moved})))
    return FEATURES, [because, Reason(f"preactivations of layers {layers} change by order one", "features are learned")]


def _late(counting, regime):
    """Layers that learn features, but not from the first update."""
    final = counting.values("change of h", counting.steps)
    late = [e for e in counting.exponents if e.signal == "change of h" and e.step == 1 and e.value < 0 and final[e.layer - 1] == 0]
    if regime != FEATURES or not late:
        return []
    sizes = ", ".join(f"layer {e.layer} by {deep.order(e.value)}" for e in late)
    return [Reason(f"the first step moves {sizes} only", "a part of the network learns later than the rest")]


def _alike(counting, regime):
    """Layers whose neurons become the same function."""
    size, spread = (counting.values(signal, counting.steps) for signal in ("h", "spread of h"))
    alike = [layer for layer, (h, d) in enumerate(zip(size, spread), start=1) if d < h]
    if regime != FEATURES or not alike:
        return []
    names = ", ".join(map(str, alike))
    return [Reason(f"in layers {names} the mean of the weights outweighs their randomness", "their neurons become equal: degenerate")]


def _yang_hu(classification):
    if classification is None:
        return [Reason("initial activations, means, biases or changing rates are outside the class of Yang and Hu", "its r is not defined")]
    layers = ", ".join(f"r_{i} = {v}" for i, v in enumerate(classification.layers, start=1))
    reasons = [Reason(f"r = {classification.r} ({layers})", f"by the conditions of Yang and Hu: {classification.regime}")]
    if classification.regime == KERNEL:
        names = ", ".join(map(str, classification.kernels))
        reasons.append(Reason("A_(L+1) + r_l = 1 or E_(L+1) = 1", f"the kernel of the limit is the sum over layers {names}"))
    return reasons
