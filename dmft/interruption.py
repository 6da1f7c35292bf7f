"""Ctrl-C: what is finished is kept (see `dmft.Interrupted`), and files are written to their end."""

import contextlib
import signal
import threading

from .errors import Interrupted


@contextlib.contextmanager
def deferred():
    """Ctrl-C waits for the end of what happens inside; a second one does not.

    Raised while HDF5 objects are let go, a KeyboardInterrupt is printed and forgotten. Signals come to the main thread alone: in others
    there is nothing to do.
    """
    act = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(act):
        yield
        return
    came = []

    def wait(number, frame):
        came.append(number)
        if len(came) > 1:
            act(number, frame)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, act)
        if came:
            act(came[0], None)


@contextlib.contextmanager
def keeping(finished, message):
    """Ctrl-C inside raises `Interrupted` with the list `finished`, to which is added what networks were trained of an ensemble under way.

    Parameters
    ----------
    finished : list
        Filled by what happens inside.
    message : str
        What `finished` is and is good for.
    """
    from .ensemble import Ensemble

    try:
        yield
    except KeyboardInterrupt as stop:
        part = getattr(stop, "result", None)
        if isinstance(part, Ensemble):
            finished.append(part)
        raise Interrupted(f"interrupted: {message}" if finished else "interrupted: nothing was finished", finished or None) from None


def collected(results, message):
    """The list of an iterator's results, with Ctrl-C as in `keeping`."""
    finished = []
    with keeping(finished, message):
        for result in results:
            finished.append(result)
    return finished
