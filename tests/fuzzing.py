"""What the fuzzers share: cases run one by one in a worker process with limits of time and memory, and the verdict on each.

A case may give a result, whose arrays hold no NaN, or an error of ours: one line that names an argument. Anything else is a finding: a
foreign exception, a result that is not a number, a hang, a process that died.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import re
import resource
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
OURS = tuple(str(ROOT / package) + os.sep for package in ("dmft", "solvers", "derivations"))
#: Seconds of wall time, and bytes of address space.
SECONDS, MEMORY = 60, 8 * 2**30


def verdict(run, names):
    """None if a case is fine, else what is wrong with it; `names` are those that a message may name."""
    import dmft

    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            result = run()
    except (dmft.SolverError, dmft.StorageError):
        return None
    except (ValueError, TypeError, OSError) as error:
        return _of_error(error, names)
    except BaseException as error:
        return f"foreign {_described(error)}"
    arrays = result.arrays() if isinstance(result, (dmft.Trajectory, dmft.Ensemble)) else {}
    bad = [name for name, array in arrays.items() if np.isnan(array).any()]
    return f"NaN in {', '.join(bad)}" if bad else None


def _of_error(error, names):
    message, frame = str(error), traceback.extract_tb(error.__traceback__)[-1]
    if not isinstance(error, OSError) and not frame.filename.startswith(OURS):
        return f"foreign {_described(error)}"
    if "\n" in message:
        return f"more than one line: {_described(error)}"
    if not any(re.search(rf"\b{re.escape(name)}\b" + (r"(\[.*\])? must" if len(name) == 1 else ""), message) for name in names):
        return f"names no argument: {_described(error)}"
    return None


def _described(error):
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(OURS)]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:200]}"


def _work(connection, make, seed):
    """Worker: the verdicts on the cases whose numbers it receives."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        case = make()
        connection.send(None)
        while (index := connection.recv()) is not None:
            title, run, names = case(np.random.default_rng((seed, index)))
            connection.send(("started", title))
            connection.send(("done", verdict(run, names)))


class _Worker:
    """A process that is started when needed and ended when it hangs."""

    def __init__(self, make, seed):
        self._arguments, self._process = (make, seed), None

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def run(self, index):
        """Title of a case and what is wrong with it, or None."""
        if self._process is None:
            self._start()
        title = f"case {index}"
        try:
            self._connection.send(index)
            for _ in range(2):
                if not self._connection.poll(SECONDS):
                    self.stop()
                    return title, f"hangs: no result after {SECONDS} s"
                kind, value = self._connection.recv()
                if kind == "done":
                    return title, value
                title = value
        except (EOFError, ConnectionError):
            self.stop()
            return title, "the process died"

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def findings(make, count, seed=0, show=None):
    """Titles and verdicts of the cases with a finding among `count`.

    Parameters
    ----------
    make : callable, of a module's top level
        Called once in the worker, in an empty folder, it returns the callable(rng) that makes a case: title, callable, names.
    show : callable(text), optional
        Told every finding.
    """
    worker, found = _Worker(make, seed), []
    try:
        for index in range(count):
            title, wrong = worker.run(index)
            if wrong is not None:
                found.append((title, wrong))
                if show is not None:
                    show(f"[{index}] {title}\n    {wrong}")
    finally:
        worker.stop()
    return found


def main(make):
    """The command line of a fuzzer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = findings(make, options.count, options.seed, lambda text: print(text, flush=True))
    print(f"{options.count} cases, {len(found)} findings")
    return min(1, len(found))
