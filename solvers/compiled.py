"""How the kernels are compiled: cached on disk, and without Python wrappers where only other kernels call them."""

from numba import njit

#: Reassociation lets sums vectorise; infinities and NaNs keep their meaning, as divergence is detected by them.
FAST = {"reassoc", "contract", "nsz", "arcp"}

kernel = njit(cache=True)
inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
inner_fast = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST)

#: The march of many short products: nothing is allocated and no references are counted, which would take longer than a product. `bare` is
#: called from Python, `part` from it, and `text` stands in the text of its callers, which compiles once what calls would compile
#: again at every level.
bare = njit(cache=True, nogil=True, _nrt=False)
part = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
part_fast = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath=FAST, _nrt=False)
text = njit(inline="always")
