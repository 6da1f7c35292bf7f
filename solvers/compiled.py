"""How the kernels are compiled: cached on disk, without Python wrappers where only other kernels call them, else free of Python's lock.

Kernels start no threads: a threading layer of numba would hang forked processes or abort when two threads solve at once. Whoever wants
threads calls kernels from several.

A cache that cannot be used stops nothing. Entries that cannot be read, torn by a full disk or a crash, are compiled anew; without a
folder to write to, neither beside the sources nor in the home folder, there is one of the user's own under the temporary folder.
"""

import contextlib
import functools
import os
import pickle
import stat
import tempfile
import warnings

from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache

#: Reassociation lets sums vectorise; infinities and NaNs keep their meaning, as divergence is detected by them.
FAST = {"reassoc", "contract", "nsz", "arcp"}


class _Cache(FunctionCache):
    """Of one kernel; what cannot be read is forgotten, what cannot be written is left out."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # torn pickles fail in any way
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            super().save_overload(sig, data)


def _compiled(**options):
    """Decorator: numba's njit with a `_Cache`."""

    def decorate(function):
        dispatcher = njit(**options)(function)
        with contextlib.suppress(RuntimeError):  # numba: no locator available
            try:
                dispatcher._cache = _Cache(function)
            except RuntimeError:
                _move_cache()
                dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


@functools.cache
def _move_cache():
    """Let this process and its children keep compiled code in a folder of the user's own, and say so once."""
    folder = _own_folder()
    if folder is not None:
        os.environ["NUMBA_CACHE_DIR"] = folder
        config.reload_config()
    warnings.warn(
        "compiled code can be kept neither beside the installation nor in the home folder; "
        + ("every process compiles anew" if folder is None else f"it is kept in {folder}")
        + ". Set the environment variable NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )


def _own_folder():
    """Path of a folder that no other user can write to, as code is loaded from it; None if there cannot be one."""
    owner = os.getuid() if hasattr(os, "getuid") else None
    try:
        folder = os.path.join(tempfile.gettempdir(), "dmft-numba" if owner is None else f"dmft-numba-{owner}")
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
    except OSError:
        return None
    private = owner is None or (found.st_uid == owner and not found.st_mode & 0o077)
    return folder if private and stat.S_ISDIR(found.st_mode) else None


_INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

kernel = _compiled(nogil=True)
kernel_fast = _compiled(nogil=True, fastmath=FAST)
inner = _compiled(**_INNER)
inner_fast = _compiled(**_INNER, fastmath=FAST)

# The march of many short products: nothing is allocated and no references are counted, which would take longer than a product. `bare` is
# called from Python, `part` from it, and `text` stands in the text of its callers, which compiles once what calls would compile
# again at every level.
bare = _compiled(nogil=True, _nrt=False)
part = _compiled(**_INNER, _nrt=False)
part_fast = _compiled(**_INNER, fastmath=FAST, _nrt=False)
text = njit(inline="always")
