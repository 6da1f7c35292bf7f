"""BLAS threads of iterators that have threads, or very small matrices, of their own."""

import contextlib
import os
import threading

import threadpoolctl


class _Shared:
    """Libraries with one number of threads for the whole process, on one thread while any thread of Python asks for it.

    The first to enter sets the number, the last to leave sets it back: in between it is not what was there before.
    """

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, {}

    @contextlib.contextmanager
    def one_thread(self, libraries):
        with self._lock:
            self._inside += 1
            for library in libraries:
                self._before.setdefault(library.filepath, (library, library.num_threads))
                _set_threads(library, 1)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._restore()

    def _restore(self):
        for library, threads in self._before.values():
            _set_threads(library, threads)
        self._before.clear()

    def after_fork(self):
        """In a forked child, which has none of the threads that were inside."""
        self._restore()
        self.__init__()


def _set_threads(library, threads):
    release = getattr(library, "clear_controlling_thread", lambda force: None)  # threadpoolctl >= 3.8: which thread may set it
    release(force=True)
    library.set_num_threads(threads)
    release(force=True)


_shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.after_fork)


def one_thread(march):
    """The same iterator, with BLAS on one thread inside."""
    controller = threadpoolctl.ThreadpoolController()
    own = controller.select(user_api="openmp", threading_layer="openmp")  # numbers of the thread that sets them
    files = {library.filepath for library in own.lib_controllers}
    shared = [library for library in controller.lib_controllers if library.filepath not in files]
    while True:
        with _shared.one_thread(shared), own.limit(limits=1):
            state = next(march, None)
        if state is None:
            return
        yield state
