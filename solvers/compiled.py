"""How the kernels are compiled: cached on disk, and without Python wrappers where only other kernels call them."""

from numba import njit

#: Reassociation lets sums vectorise; infinities and NaNs keep their meaning, as divergence is detected by them.
FAST = {"reassoc", "contract", "nsz", "arcp"}

kernel = njit(cache=True)
inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
inner_fast = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST)
inner_parallel = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, parallel=True)
