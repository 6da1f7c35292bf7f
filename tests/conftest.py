"""What every test runs under: numerical accidents in numpy are errors, and compiled kernels are never older than their sources."""

from pathlib import Path

import numpy as np

SOLVERS = Path(__file__).parents[1] / "solvers"


def remove_stale_caches(folder):
    """Delete compiled kernels older than any source of `folder`: numba looks only at the file of the kernel itself."""
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for compiled in folder.glob("__pycache__/*.nb[ci]"):
        if compiled.stat().st_mtime < newest:
            compiled.unlink(missing_ok=True)


remove_stale_caches(SOLVERS)
np.seterr(divide="raise", over="raise", invalid="raise")
