"""Powers of the width of a `ShallowNet`, by the limit that is derived for its exponents.

Source: docs/theory/shallow_limits.md, sections 1 to 4b; arXiv 2006.06574.
"""

from dataclasses import dataclass

from . import checks, limits


@dataclass(frozen=True)
class Scaling:
    """Powers of R = width / reference width that normalise a network, with the limit they lead to.

    Attributes
    ----------
    limit : LimitClass or None
        None where training is not stable: nothing is normalised then.
    initial, logits, kernel : float
        Exponents of the initial logits, the trained logits and the tangent kernel.
    """

    limit: limits.LimitClass | None
    initial: float = 0.0
    logits: float = 0.0
    kernel: float = 0.0

    @property
    def evolves(self):
        """Whether the law of the neurons, and with it the kernel, evolves."""
        return self.limit.regime == "mean field"

    @property
    def persists(self):
        """Whether the initial function is as large as later logits."""
        return self.limit.regime == "kernel from F0"


def scaling(network, loss):
    """The `Scaling` of a `ShallowNet`."""
    limit = stable_limits(network, loss).classify(network.q_sigma, network.q_eta)
    if limit is None:
        return Scaling(None)
    if network.corrected:
        return Scaling(limit)
    return Scaling(limit, *(exponent(network, loss, name) for name in ("initial logits", "logits", "tangent kernel")))


def exponent(network, loss, name):
    """The derived power of the width of one of `LimitClass.exponents` of a stable network."""
    found = stable_limits(network, loss)
    return found.exponent(found.classify(network.q_sigma, network.q_eta), name, network.q_sigma, network.q_eta)


def check_width(network, width):
    """`width` as int; ValueError unless the powers of it that the network takes are double-precision numbers."""
    return checks.width(width, (network.q_sigma, *network.q_etas), network.reference_width)


def reach(network, width=None):
    """Size of the logits of weights that have moved by as much as they started with, at a width or at the reference width."""
    width = network.reference_width if width is None else width
    return network.sigma * (width / network.reference_width) ** float(network.q_sigma) * width


def stable_limits(network, loss):
    """The derived limits among which a network has its place: those of one learning-rate exponent, or of one for each layer."""
    return limits.shallow(loss, rates="layer-wise" if isinstance(network.q_eta, tuple) else "common")


def refuse_unstable(network, loss, remedy):
    """Raise the ValueError that says which condition of the stable band the exponents of a network violate."""
    violation = stable_limits(network, loss).violation(network.q_sigma, network.q_eta)
    raise ValueError(f"q_sigma and q_eta must be exponents of stable training, which needs {violation}. {remedy}")
