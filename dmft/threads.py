"""How many threads there are, and BLAS threads of iterators that have threads, or very small matrices, of their own."""

import os

import threadpoolctl


def cores():
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def one_thread(march):
    """The same iterator, with BLAS on one thread inside."""
    controller = threadpoolctl.ThreadpoolController()
    while True:
        with controller.limit(limits=1):
            state = next(march, None)
        if state is None:
            return
        yield state
