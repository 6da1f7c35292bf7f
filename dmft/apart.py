"""A call in a process of its own, which may hang or crash without harm to this one."""

import os
import pickle
import resource
import signal
import subprocess
import sys

from .errors import StorageError

_CHILD = "import pickle, sys; sys.path[:], limit = pickle.load(sys.stdin.buffer); from dmft.apart import _serve; _serve(limit)"
_SECONDS, _BYTES_PER_SECOND = 20, 5_000_000
_PATIENCE = 20


def apart(function, path, *arguments):
    """`function(path, *arguments)` in a new Python process; takes about half a second more.

    Parameters
    ----------
    function : callable
        Of a module of ours. Raises StorageError only, and returns plain values and arrays.
    path : path
        The file that it reads, whose size bounds the processor time that it may take; a hang of HDF5 is a loop.

    Raises
    ------
    StorageError
        That of the function; or if it hangs or crashes.
    """
    limit = _SECONDS + os.path.getsize(path) // _BYTES_PER_SECOND
    request = pickle.dumps((sys.path, limit)) + pickle.dumps((function, (path, *arguments)))
    hangs = damage(path, f"HDF5 hangs on it: no answer in {limit} s")
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=request,
            capture_output=True,
            timeout=_PATIENCE * limit,
            start_new_session=True,  # Ctrl-C is for this process, which ends the other
        )
    except subprocess.TimeoutExpired as error:
        raise StorageError(hangs) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: no process could be started to look at it ({error})") from error
    if child.returncode == -signal.SIGXCPU:
        raise StorageError(hangs)
    if child.returncode < 0:
        raise StorageError(damage(path, f"HDF5 crashes on it: signal {-child.returncode}"))
    if child.returncode > 0:
        last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise StorageError(f"{path} cannot be read: the process that looked at it failed ({last})")
    value, message = pickle.loads(child.stdout)
    if message is not None:
        raise StorageError(message)
    return value


def damage(path, what):
    """The message for a file that is not as it was written."""
    return f"{path} is damaged ({what}); restore it from a copy, or solve again"


def _serve(limit):
    """Answer one request of `apart`; the process ends without cleaning up, on which HDF5 may crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    function, arguments = pickle.load(sys.stdin.buffer)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        try:
            reply = function(*arguments), None
        except StorageError as error:
            reply = None, str(error)
        pickle.dump(reply, answer, protocol=5)
    os._exit(0)
