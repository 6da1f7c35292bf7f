"""What a simulation states before the first network is trained."""

from collections.abc import Callable
from typing import NamedTuple


class Plan(NamedTuple):
    """How to train one network and what to make of all.

    Attributes
    ----------
    size : str
        Of the networks, for the progress bar.
    train : callable(stream, advance=lambda steps: None)
        Trains the network of a `numpy.random.SeedSequence`, calls `advance` with the number of steps done; can be pickled.
    collect : callable(results, rng, elapsed)
        The ensemble of the results of `train`.
    """

    size: str
    train: Callable
    collect: Callable
