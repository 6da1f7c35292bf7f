"""BLAS threads of iterators that have threads, or very small matrices, of their own."""

import threadpoolctl


def one_thread(march):
    """The same iterator, with BLAS on one thread inside."""
    controller = threadpoolctl.ThreadpoolController()
    while True:
        with controller.limit(limits=1):
            state = next(march, None)
        if state is None:
            return
        yield state
