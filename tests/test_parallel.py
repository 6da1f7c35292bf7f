"""Work side by side: functions sent to other processes, pools of every kind after a solve, several solves in threads."""

import copy
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft import threads

ROOT = Path(__file__).parents[1]
#: Seconds after which a process counts as hanging.
PATIENCE = 300


def run(tmp_path, code, **environment):
    """Output of a script, as a notebook or a user's program would be."""
    import os

    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("library", ["pickle", "cloudpickle", "joblib.externals.cloudpickle"])
def test_the_package_is_sent_by_its_name(library):
    module = pytest.importorskip(library)
    assert module.loads(module.dumps(dmft)) is dmft and copy.deepcopy(dmft) is dmft
    assert callable(dmft.solve)


def test_interrupted_can_be_sent():
    stop = pickle.loads(pickle.dumps(dmft.Interrupted("interrupted: some", [1, 2])))
    assert type(stop) is dmft.Interrupted and str(stop) == "interrupted: some" and stop.result == [1, 2]


NOTEBOOK = """
    import dmft

    def final_loss(rate):
        problem = dmft.DeepLinear(1), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(rate, 5)
        return float(dmft.solve(*problem, progress=False).test_loss[-1])
"""


def test_functions_of_a_notebook_run_in_loky(tmp_path):
    lines = run(
        tmp_path,
        NOTEBOOK
        + """
    import joblib

    print(final_loss(0.1))
    print(*joblib.Parallel(1 + 1)(joblib.delayed(final_loss)(0.1) for _ in range(2)))
    """,
    )
    assert lines[1].split() == 2 * [lines[0]]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [True, False])
def test_functions_of_a_notebook_run_in_dask(tmp_path, processes):
    pytest.importorskip("distributed")
    lines = run(
        tmp_path,
        NOTEBOOK
        + f"""
    if __name__ == "__main__":
        from distributed import Client, LocalCluster

        print(final_loss(0.1))
        with LocalCluster(n_workers=1, threads_per_worker=2, processes={processes}, dashboard_address=None) as cluster, Client(cluster) as client:
            print(*client.gather(client.map(final_loss, [0.1, 0.1], pure=False)))
    """,
    )
    assert lines[1].split() == 2 * [lines[0]]


POOL = """
    import multiprocessing
    import dmft

    def solved(steps):
        problem = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(0.05, steps)
        return dmft.solve(*problem, progress=False).test_loss[-1]

    if __name__ == "__main__":
        here = solved(420)
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            print(pool.map(solved, [420, 420]) == [here, here])
"""


@pytest.mark.parametrize("method", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver"))])
@pytest.mark.skipif(sys.platform == "win32", reason="only spawn on Windows")
def test_pools_after_a_long_solve(tmp_path, method):
    """A threading layer started by the parent would hang the children of a fork for ever."""
    assert run(tmp_path, POOL.format(method=method)) == ["True"]


def test_solves_in_several_threads_at_once(tmp_path):
    """With the one threading layer that every numba has, two parallel kernels at once would abort the process."""
    code = """
        import threading
        import numba
        import dmft

        def losses(network, data, **options):
            return dmft.solve(network, data, dmft.GradientDescent(0.05, 420 if not options else 5), progress=False, **options).train_loss

        linear = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3)
        images = dmft.datasets.binary_digits((3, 8), samples=6)
        jobs = 3 * [(linear, {})] + [((network, images), dict(samples=512)) for network in (dmft.MLP(2), dmft.DeepNet(2), dmft.ShallowNet.mean_field())]
        expected, found = [losses(*job, **options) for job, options in jobs], [None] * len(jobs)

        def work(i):
            found[i] = losses(*jobs[i][0], **jobs[i][1])

        workers = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(all((a == b).all() for a, b in zip(found, expected)))
        try:
            print(numba.threading_layer())
        except ValueError:
            print("no layer")
    """
    assert run(tmp_path, code, NUMBA_THREADING_LAYER="workqueue") == ["True", "no layer"]


def test_kernels_start_no_threads():
    for source in (ROOT / "solvers").glob("*.py"):
        assert not {"prange", "parallel=True"} & set(source.read_text(encoding="utf-8").replace("(", " ").replace(")", " ").replace(",", " ").split())


class Library:
    """A BLAS with two threads, as threadpoolctl sees it."""

    user_api, threading_layer, filepath = "blas", "pthreads", "libblas.so"

    def __init__(self):
        self.num_threads = 2

    def set_num_threads(self, threads):
        self.num_threads = threads


def test_blas_threads_come_back_when_iterators_overlap(monkeypatch):
    """The one who came first leaves first: the other is still on one thread, and in the end there are two again."""
    library, shared = Library(), threads._Shared()
    first, second = shared.one_thread([library]), shared.one_thread([library])
    assert library.num_threads == 2
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert library.num_threads == 1
    second.__exit__(None, None, None)
    assert library.num_threads == 2


def test_a_forked_child_has_its_blas_threads_back(monkeypatch):
    library, shared = Library(), threads._Shared()
    shared.one_thread([library]).__enter__()
    shared.after_fork()
    assert library.num_threads == 2
    with shared.one_thread([library]):
        assert library.num_threads == 1
    assert library.num_threads == 2


def test_real_blas_threads_come_back():
    import threadpoolctl

    def counts():
        return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before, inside = counts(), []
        entered, left = threading.Event(), threading.Event()

        def states(own, other):
            own.set()
            other.wait(10)
            inside.append(counts())
            yield 0

        pair = [threading.Thread(target=lambda a, b: list(threads.one_thread(states(a, b))), args=events) for events in ((entered, left), (left, entered))]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()
        assert counts() == before and inside == 2 * [[1] * len(before)]


@pytest.mark.parametrize("network", [dmft.DeepNet(2), dmft.ShallowNet.mean_field(), dmft.MLP(2)], ids=lambda network: type(network).__name__)
def test_marches_taken_in_turns_leave_numpy_as_it_is(network):
    problem = network, dmft.datasets.binary_digits((3, 8), samples=4), dmft.GradientDescent(0.1, 3)
    before = np.geterr()
    first, second = (dmft.march(*problem, samples=512) for _ in range(2))
    for _ in zip(first, second):
        assert np.geterr() == before
    assert np.geterr() == before
