"""What a simulation states before the first network is trained."""

from collections.abc import Callable
from typing import NamedTuple

from .. import machine


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


def check_memory(size, working, lasting, seeds, workers, remedy):
    """Raise ValueError unless there is memory enough.

    Parameters
    ----------
    size : str
        Of the networks.
    working, lasting : int
        Numbers of 8 bytes that a network takes in training, and those that are kept of it: twice, when they are collected.
    seeds, workers : int
    remedy : str
        What to take less of.
    """
    needed, limit = 8 * (workers * working + 2 * seeds * lasting), machine.memory()
    if needed > limit:
        raise ValueError(
            f"{size}, seeds = {seeds} and workers = {workers} need about {needed / 2**30:.1f} GiB, and this process may take "
            f"{limit / 2**30:.1f} GiB. Take {remedy}, or fewer seeds or workers"
        )
