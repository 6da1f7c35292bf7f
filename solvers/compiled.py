"""How the kernels are compiled: cached on disk, and without Python wrappers where only other kernels call them."""

from numba import njit

#: Reassociation lets sums vectorise; infinities and NaNs keep their meaning, as divergence is detected by them.
FAST = {"reassoc", "contract", "nsz", "arcp"}

kernel = njit(cache=True)
inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
inner_fast = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST)

#: Nothing is allocated and no references are counted, which many short calls that pass arrays on would pay for; for `text`, see below.
bare = njit(cache=True, nogil=True, _nrt=False)
part = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
part_fast = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST, _nrt=False)
#: Part of the text of its callers: compiled with them, once.
text = njit(inline="always")
