"""Ctrl-C in computations of several parts: what is finished is kept (see `dmft.Interrupted`)."""

import contextlib

from .ensemble import Ensemble
from .errors import Interrupted


@contextlib.contextmanager
def keeping(finished, message):
    """Ctrl-C inside raises `Interrupted` with the list `finished`, to which is added what networks were trained of an ensemble under way.

    Parameters
    ----------
    finished : list
        Filled by what happens inside.
    message : str
        What was interrupted, and what `finished` is good for.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        part = getattr(stop, "result", None)
        if isinstance(part, Ensemble):
            finished.append(part)
        raise Interrupted(f"interrupted: {message}", finished or None) from None


def collected(results, message):
    """The list of an iterator's results, with Ctrl-C as in `keeping`."""
    finished = []
    with keeping(finished, message):
        for result in results:
            finished.append(result)
    return finished
