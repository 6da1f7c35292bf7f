"""What this installation consists of: for bug reports, and stored with every result."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy  # noqa: F401  (loads the BLAS that threadpoolctl reports)
import threadpoolctl

from derivations.printed import Printed

from . import __version__

_PACKAGES = ("numpy", "scipy", "numba", "sympy", "h5py", "matplotlib")


class About(Printed, dict):
    """A JSON-able dictionary that prints as a readable list."""

    def __str__(self):
        width = max(map(len, self))
        return "\n".join(f"{key:{width}}  {value if isinstance(value, str) else json.dumps(value)}" for key, value in self.items())


def about():
    """Versions, platform, threads and BLAS of this process.

    Returns
    -------
    About
        A dictionary of strings, numbers and lists, without paths. ``numba_threads`` and ``numba_threading_layer`` are None while
        numba is not loaded, or has not started its threads; ``commit`` is None unless the package runs from a git checkout.

    Examples
    --------
    >>> dmft.about()["dmft"] == dmft.__version__
    True
    """
    return About(
        dmft=__version__,
        commit=_commit(),
        python=platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        platform=platform.platform(),
        cpus=os.cpu_count(),
        **_numba_threads(),
        blas=[
            {key: library.get(key) for key in ("internal_api", "version", "num_threads", "architecture")} for library in _blas_libraries()
        ],
    )


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit():
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _numba_threads():
    if "numba" not in sys.modules:
        return {"numba_threads": None, "numba_threading_layer": None}
    import numba

    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = None
    return {"numba_threads": numba.config.NUMBA_NUM_THREADS, "numba_threading_layer": layer}


def _blas_libraries():
    return [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
