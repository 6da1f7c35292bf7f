"""Files: nothing is lost or changed on the way, no moment of a kill harms them, one writer at a time, old and foreign files."""

import contextlib
import dataclasses
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import storm_of_kills

import dmft
from dmft import StorageError, exclusive_file, storage
from dmft.theories import deep_linear

solving = importlib.import_module("dmft.solve")
ROOT = Path(__file__).parent.parent
STORED = ROOT / "tests/storage"
INF = float("inf")
NETWORK = dmft.DeepLinear(depth=2, width_ratio=2.0, richness=1.3)
DATA = dmft.GaussianData(sample_ratio=1.5, label_noise=0.3)
MODES = dmft.StructuredData([1.5, 0.5], [0.5, 1.5], [0.4, 0.6], sample_ratio=2.0, label_noise=0.2)
LONG = "dmft.DeepLinear(depth=1), dmft.GaussianData(sample_ratio=1.5), dmft.GradientDescent(learning_rate=0.1, steps=300)"
PROBLEMS = {
    "plain": (NETWORK, DATA, dmft.GradientDescent(0.1, 90)),
    "momentum": (NETWORK, DATA, dmft.GradientDescent(0.1, 90, momentum=0.8)),
    "nesterov": (NETWORK, DATA, dmft.GradientDescent(0.1, 90, momentum=0.5, nesterov=True)),
    "weight decay": (NETWORK, DATA, dmft.GradientDescent(0.1, 90, weight_decay=0.1)),
    "decoupled": (NETWORK, DATA, dmft.GradientDescent(0.1, 90, weight_decay=0.1, decoupled=True)),
    "two outputs": (
        dmft.DeepLinear(depth=2, width_ratio=(1.0, 3.0), outputs=2),
        dmft.GaussianData(1.5, 0.3, target_overlap=[[1.0, 0.4], [0.4, 1.0]], noise_covariance=[[1.0, 0.1], [0.1, 2.0]]),
        dmft.GradientDescent(0.05, 90),
    ),
    "modes": (NETWORK, MODES, dmft.GradientDescent(0.1, 90)),
    "population": (dmft.DeepLinear(depth=1, width_ratio=INF), dmft.GaussianData(INF), dmft.GradientDescent(0.1, 90)),
    "online": (NETWORK, dmft.GaussianData(label_noise=0.3), dmft.OnlineSGD(0.1, 90, batch_ratio=2.0)),
    "online, two outputs": (dmft.DeepLinear(1, outputs=2), dmft.GaussianData(label_noise=0.3), dmft.OnlineSGD(0.1, 90)),
    "subsets": (NETWORK, MODES, dmft.MinibatchSGD(0.05, 90, batch_fraction=0.5, momentum=0.5)),
    "compressed": (dmft.DeepLinear(depth=1), DATA, dmft.GradientDescent(0.1, 420)),
}
FIRST_STEPS = {name: 37 for name in PROBLEMS} | {"compressed": 300}


def solve(problem, **options):
    return dmft.solve(*problem, progress=False, **options)


@pytest.fixture(scope="module")
def whole():
    """The solved problems by name; solved at the first request."""

    class Solved(dict):
        def __missing__(self, name):
            self[name] = solve(PROBLEMS[name])
            return self[name]

    return Solved()


@pytest.fixture
def stored(whole, tmp_path):
    whole["plain"].save(tmp_path / "run.h5")
    return tmp_path / "run.h5"


def with_steps(problem, steps):
    return *problem[:2], dataclasses.replace(problem[2], steps=steps)


def assert_same(a, b):
    """All fields equal, bit for bit in the finished rows."""
    for name in ("network", "data", "training", "status", "finished", "method", "options", "report"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("test_loss", "train_loss"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    n = a.finished * a.network.outputs
    assert list(a.kernels) == list(b.kernels)
    for name in a.kernels:
        assert a.kernels[name].shape == b.kernels[name].shape
        assert np.array_equal(np.tril(a.kernels[name][..., :n, :n]), np.tril(b.kernels[name][..., :n, :n])), name


def assert_close(a, b, tolerance=1e-12):
    assert (a.status, a.finished, a.training) == (b.status, b.finished, b.training)
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("test_loss", "train_loss")]
    pairs += [(np.tril(a.kernels[name]), np.tril(b.kernels[name])) for name in a.kernels]
    for x, y in pairs:
        assert np.abs(x - y).max() <= tolerance * np.abs(y).max()


# ---- what goes in comes out


@pytest.mark.parametrize("name", PROBLEMS)
def test_round_trip_is_exact(name, whole, tmp_path):
    whole[name].save(tmp_path / "run.h5")
    assert_same(dmft.load(tmp_path / "run.h5"), whole[name])
    assert os.listdir(tmp_path) == ["run.h5"]


def test_specifications_with_arrays_and_everything_in_options_and_report(whole, tmp_path):
    training = dmft.GradientDescent(np.linspace(0.1, 1e-9 / 3, 9000), 9000)
    before = dataclasses.replace(
        whole["modes"],
        training=training,
        status=dmft.Status.INTERRUPTED,
        method="fixed-point",
        options={"window": 20, "tolerance": 1e-10 / 3, "damping": None, "limit": INF},
        report={"residuals": [0.1, INF, -INF], "nested": {"converged": True, "words": "with ünicode"}},
    )
    before.save(tmp_path / "run.h5")
    after = dmft.load(str(tmp_path / "run.h5"))
    assert_same(after, before)
    assert np.array_equal(after.training.learning_rate, training.learning_rate)


def test_arrays_in_a_report_come_back_as_lists(whole, tmp_path):
    dataclasses.replace(whole["plain"], report={"a": np.array([1.0, 2.0]), "n": np.int64(3), "t": (1, 2)}).save(tmp_path / "run.h5")
    assert dmft.load(tmp_path / "run.h5").report == {"a": [1.0, 2.0], "n": 3, "t": [1, 2]}


@pytest.mark.parametrize("value", [object(), float("nan"), {1: "key that is no text"}, {"deep": [{1, 2}]}, 1j, b"bytes"])
def test_what_cannot_be_stored_is_an_error_that_names_it(value, whole, tmp_path):
    path = tmp_path / "run.h5"
    whole["plain"].save(path)
    content = path.read_bytes()
    with pytest.raises(StorageError, match=r"report\['bad'\].*cannot be stored"):
        dataclasses.replace(whole["plain"], report={"bad": value}).save(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["run.h5"]


def test_divergence_is_stored_as_the_rows_before_it(tmp_path):
    diverged = solve((NETWORK, DATA, dmft.GradientDescent(5.0, 80)), out=tmp_path / "run.h5")
    after = dmft.load(tmp_path / "run.h5")
    assert after.status is dmft.Status.DIVERGED and after.diverged_at == diverged.diverged_at
    assert_same(after, diverged)
    assert np.isinf(after.test_loss[after.finished :]).all() and np.isfinite(after.test_loss[: after.finished]).all()
    for read in (after.correlation("h", layer=1), after.response("v")):
        assert not np.isnan(read).any()
    with pytest.raises(ValueError, match="diverged at step"):
        dmft.resume(tmp_path / "run.h5", steps=100)


def test_ensemble_round_trip(tmp_path):
    ensemble = dmft.simulate(NETWORK, DATA, dmft.GradientDescent(np.full(5, 9.0), 5), dim=12, seeds=3, rng=1, progress=False)
    ensemble.save(tmp_path / "networks.h5")
    after = dmft.load(tmp_path / "networks.h5")
    for field in dataclasses.fields(ensemble):
        assert np.array_equal(getattr(after, field.name), getattr(ensemble, field.name)), field.name
    assert str(after) == str(ensemble)


def test_datasets_are_described_and_the_upper_triangle_takes_no_space(whole, tmp_path):
    above = {name: kernel + np.triu(np.full(kernel.shape, np.nan), 1) for name, kernel in whole["compressed"].kernels.items()}
    dataclasses.replace(whole["compressed"], kernels=above).save(tmp_path / "run.h5")
    after = dmft.load(tmp_path / "run.h5")
    assert_same(after, whole["compressed"])
    assert all(np.isfinite(kernel).all() for kernel in after.kernels.values())
    with h5py.File(tmp_path / "run.h5") as file:
        datasets = []
        file.visititems(lambda name, node: datasets.append(node) if isinstance(node, h5py.Dataset) else None)
        assert len(datasets) == 12
        for dataset in datasets:
            assert dataset.attrs["description"] and all(dimension.label for dimension in dataset.dims)
            assert dataset.dtype == np.float64 and None in dataset.maxshape
        assert [d.label for d in file["kernels/Ch"].dims] == ["layer", "time", "time'"]
        assert file["kernels/Cv"].id.get_num_chunks() == 2 * (1 + 2 + 3) + 4
        assert json.loads(file.attrs["environment"])["dmft"] == dmft.__version__


# ---- resume


@pytest.mark.parametrize("name", PROBLEMS)
def test_resume_equals_one_longer_solve(name, whole, tmp_path):
    path, problem = tmp_path / "run.h5", PROBLEMS[name]
    solve(with_steps(problem, FIRST_STEPS[name]), out=path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", dmft.RestartWarning)
        resumed = dmft.resume(path, steps=problem[2].steps, progress=False)
    assert_close(resumed, whole[name])
    assert_same(dmft.load(path), resumed)
    assert os.listdir(tmp_path) == ["run.h5"]


def interrupt_after(monkeypatch, blocks):
    """Ctrl-C during the block that follows so many blocks of `march`."""
    march = solving._marched

    def interrupted(*arguments, **options):
        solution = march(*arguments, **options)
        for _ in range(blocks):
            yield next(solution)
        raise KeyboardInterrupt

    monkeypatch.setattr(solving, "_marched", interrupted)


def test_interrupted_solve_is_kept_and_resumable(whole, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(dmft.Interrupted) as stop:
            solve(PROBLEMS["compressed"], out=path)
    stopped = stop.value.result
    assert stopped.status is dmft.Status.INTERRUPTED and 0 < stopped.finished < 421
    assert_same(dmft.load(path), stopped)
    assert_close(dmft.resume(path, steps=420, progress=False), whole["compressed"])


def test_interrupted_solve_may_end_where_it_stopped(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(dmft.Interrupted) as stop:
            solve(PROBLEMS["compressed"], out=path)
    stopped = stop.value.result
    shorter = dmft.resume(path, steps=stopped.finished - 1, progress=False)
    assert shorter.status is dmft.Status.COMPLETED and np.array_equal(shorter.test_loss, stopped.test_loss)
    assert_same(dmft.load(path), shorter)
    with pytest.raises(ValueError, match="steps"):
        dmft.resume(path, steps=stopped.finished - 2, progress=False)


def test_interruption_before_any_row_leaves_the_file_as_it_was(whole, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    whole["plain"].save(path)
    content = path.read_bytes()
    interrupt_after(monkeypatch, 0)
    calls = (lambda: dmft.resume(path, steps=200, progress=False), True), (lambda: solve(PROBLEMS["modes"], out=path, overwrite=True), False)
    for call, result in calls:
        with pytest.raises(dmft.Interrupted) as stop:
            call()
        assert (stop.value.result is not None) == result
        assert path.read_bytes() == content and os.listdir(tmp_path) == ["run.h5"]


# ---- a kill at any moment


CHILD = """
import os, sys, time
import dmft
from dmft import storage
storage._PAUSE = storage._PAUSE_PER_WRITE = 0
path = sys.argv[1]
problem = {problem}
{action}
"""


def start(action, path, problem=LONG):
    code = CHILD.format(problem=problem, action=action)
    return subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_file_that_loads_and_resumes(tmp_path):
    states, failures = storm_of_kills.storm(tmp_path, 8, seed=3)
    assert failures == [] and states["interrupted"] > 0
    assert_close(*storm_of_kills.continued(tmp_path, 8))


def test_kill_within_a_write_leaves_the_previous_file(tmp_path):
    path = tmp_path / "run.h5"
    action = """
replace = os.replace
def stop(*paths):
    print("in the second write", flush=True)
    time.sleep(60)
with storage.LiveFile(path) as file:
    for trajectory in dmft.march(*problem):
        file.update(trajectory)
        print(trajectory.finished, flush=True)
        os.replace = stop
"""
    child = start(action, path)
    rows = int(child.stdout.readline())
    assert child.stdout.readline().startswith("in the second write")
    kill(child)
    assert sorted(os.listdir(tmp_path)) == [".run.h5.lock", ".run.h5.partial", "run.h5"]
    kept = dmft.load(path)
    assert kept.status is dmft.Status.INTERRUPTED and kept.finished == rows
    assert os.listdir(tmp_path) == ["run.h5"]
    assert_close(dmft.resume(path, steps=300, progress=False), solve(eval(LONG)))
    assert os.listdir(tmp_path) == ["run.h5"]


def test_rows_once_written_are_not_written_again(whole, tmp_path):
    path, complete = tmp_path / "run.h5", whole["compressed"]
    first = dataclasses.replace(complete, status=dmft.Status.INTERRUPTED, finished=100)
    spoiled = {name: kernel.copy() for name, kernel in complete.kernels.items()}
    for kernel in spoiled.values():
        kernel[..., :100, :] = np.nan
    with storage.LiveFile(path) as file:
        file.update(first)
        file.finish(dataclasses.replace(complete, kernels=spoiled))
    assert_same(dmft.load(path), complete)
    for kernel in spoiled.values():
        kernel[:] = np.nan
    with storage.LiveFile(path) as file:
        assert_same(file.read(), complete)
        file.finish(dataclasses.replace(complete, kernels=spoiled))
    assert_same(dmft.load(path), complete)


def test_writing_takes_a_tenth_of_the_time(monkeypatch, tmp_path, whole):
    now, writes = [0.0], []

    def slow_write(file, trajectory):
        writes.append(now[0])
        now[0] += 0.003 * now[0]

    monkeypatch.setattr(storage, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(storage.LiveFile, "write", slow_write)
    trajectory = dataclasses.replace(whole["plain"], status=dmft.Status.INTERRUPTED)
    with storage.LiveFile(tmp_path / "run.h5") as file:
        for _ in range(10_000):
            now[0] += 0.3
            file.update(trajectory)
    assert writes[0] == 0.3
    assert np.diff(writes).min() >= 2.0
    assert 0.03 * now[0] < now[0] - 3000.0 < 0.1 * now[0]


# ---- one writer


def holders():
    """The ways to write to a path."""
    return {
        "save": lambda path: solve(with_steps(PROBLEMS["plain"], 3)).save(path),
        "solve": lambda path: solve(PROBLEMS["plain"], out=path, overwrite=True),
        "resume": lambda path: dmft.resume(path, steps=100, progress=False),
    }


@pytest.mark.parametrize("way", holders())
def test_second_writer_is_refused(way, whole, tmp_path):
    path = tmp_path / "run.h5"
    whole["plain"].save(path)
    alias = tmp_path / "alias.h5"
    alias.symlink_to(path)
    with storage.LiveFile(path):
        for name in (path, alias):
            with pytest.raises(StorageError, match=r"run\.h5 is being written"):
                holders()[way](name)
        assert_same(dmft.load(path), whole["plain"])
    holders()[way](alias)
    assert alias.is_symlink() and not path.is_symlink()


def test_writer_in_another_process_and_its_death(whole, tmp_path):
    path = tmp_path / "run.h5"
    child = start("with storage.LiveFile(path):\n    print('held', flush=True)\n    time.sleep(60)", path)
    child.stdout.readline()
    with pytest.raises(StorageError, match=r"run\.h5 is being written"):
        whole["plain"].save(path)
    kill(child)
    whole["plain"].save(path)
    assert os.listdir(tmp_path) == ["run.h5"]


def test_lock_never_has_two_holders(tmp_path):
    inside, together, entered = [], [], []

    def contend():
        for _ in range(200):
            try:
                with storage.LiveFile(tmp_path / "run.h5"):
                    inside.append(1)
                    together.append(len(inside))
                    inside.pop()
                    entered.append(1)
            except StorageError:
                pass

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(together) == 1 and len(entered) >= 200
    assert os.listdir(tmp_path) == []


def test_lock_on_a_file_that_its_holder_just_removed_is_taken_anew(tmp_path, monkeypatch):
    flock, locked = exclusive_file.fcntl.flock, []

    def late(descriptor, operation):
        if not locked:
            os.unlink(tmp_path / ".run.h5.lock")
        flock(descriptor, operation)
        locked.append(descriptor)

    monkeypatch.setattr(exclusive_file.fcntl, "flock", late)
    with storage.LiveFile(tmp_path / "run.h5"):
        assert len(locked) == 2
        with pytest.raises(StorageError, match="is being written"), storage.LiveFile(tmp_path / "run.h5"):
            pass


# ---- places that cannot be written: an error before any work


def foreign_text(folder):
    (folder / "run.h5").write_text("a week of work")
    return folder / "run.h5"


def foreign_hdf5(folder):
    with h5py.File(folder / "run.h5", "w") as file:
        file["work"] = np.arange(3)
    return folder / "run.h5"


def ensemble_file(folder):
    dmft.simulate(NETWORK, DATA, dmft.GradientDescent(0.1, 2), dim=4, seeds=1, progress=False).save(folder / "run.h5")
    return folder / "run.h5"


def directory(folder):
    (folder / "run.h5").mkdir()
    return folder / "run.h5"


def fifo(folder):
    os.mkfifo(folder / "run.h5")
    return folder / "run.h5"


def link_to_a_fifo(folder):
    os.mkfifo(folder / "fifo")
    (folder / "run.h5").symlink_to(folder / "fifo")
    return folder / "run.h5"


def unix_socket(folder):
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):
        server.bind("run.h5")
    return folder / "run.h5"


def damaged_file(folder):
    content = bytearray((STORED / "schema-1-deep-linear-trajectory.h5").read_bytes())
    content[8:48] = bytes(40)
    (folder / "run.h5").write_bytes(content)
    return folder / "run.h5"


def below_a_file(folder):
    return foreign_text(folder) / "run.h5"


def read_only_folder(folder):
    os.chmod(folder, 0o500)
    return folder / "run.h5"


def read_only_file(folder):
    solve(with_steps(PROBLEMS["plain"], 2), out=folder / "run.h5")
    os.chmod(folder / "run.h5", 0o400)
    return folder / "run.h5"


NOT_FOR_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
PLACES = [
    (foreign_text, "not a dmft-trajectory file"),
    (foreign_hdf5, "not a dmft-trajectory file"),
    (ensemble_file, "not a dmft-trajectory file"),
    (directory, "is a folder, not a regular file"),
    (fifo, "is a FIFO, not a regular file"),
    (link_to_a_fifo, "is a FIFO, not a regular file"),
    (unix_socket, "is a socket, not a regular file"),
    (damaged_file, "what it is cannot be read: it is left as it is"),
    (lambda folder: folder / "missing" / "run.h5", "folder must exist"),
    (below_a_file, "folder must exist"),
    pytest.param(read_only_folder, "writable", marks=NOT_FOR_ROOT),
    pytest.param(read_only_file, "read-only", marks=NOT_FOR_ROOT),
]


@pytest.mark.parametrize(("place", "message"), PLACES)
def test_unwritable_place_is_an_error_before_any_work(place, message, tmp_path, monkeypatch):
    path = place(tmp_path)
    content = path.read_bytes() if path.is_file() else None
    mode = os.lstat(path).st_mode if os.path.lexists(path) else None

    def no_work(*arguments, **options):
        raise AssertionError("worked before the check")
        yield

    monkeypatch.setattr(solving, "_marched", no_work)
    monkeypatch.setattr(deep_linear, "whole", lambda *problem: next(no_work()))
    for method in ("causal", "reference"):
        with pytest.raises(StorageError, match=message) as error:
            solve(PROBLEMS["plain"], method=method, out=path, overwrite=True)
        assert str(path) in str(error.value)
    assert content is None or path.read_bytes() == content
    assert os.path.lexists(path) == (mode is not None) and (mode is None or os.lstat(path).st_mode == mode)


@pytest.mark.parametrize("limit", [0, 10_000, 1_000_000])
def test_full_disk_leaves_the_previous_file(limit, whole, stored):
    content = stored.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match=r"run\.h5 cannot be written"):
            whole["compressed"].save(stored)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stored.read_bytes() == content and os.listdir(stored.parent) == ["run.h5"]
    whole["compressed"].save(stored)
    assert_same(dmft.load(stored), whole["compressed"])


@pytest.mark.parametrize("finished", [1, 65, 421])
def test_space_is_reserved_for_what_does_not_compress(finished, whole, tmp_path, monkeypatch):
    reserved = []
    monkeypatch.setattr(exclusive_file, "_check_space", lambda partial, growth: reserved.append(growth))
    rng = np.random.default_rng(1)
    noise = {name: rng.standard_normal(kernel.shape) for name, kernel in whole["compressed"].kernels.items()}
    training = dmft.GradientDescent(rng.uniform(size=9000), 9000)
    parts = {"kernels": noise, "training": training, "status": dmft.Status.INTERRUPTED}
    sizes = [0]
    with storage.LiveFile(tmp_path / "run.h5") as file:
        for rows in (finished // 2, finished):
            file.finish(dataclasses.replace(whole["compressed"], **parts, finished=rows))
            sizes.append(os.path.getsize(tmp_path / "run.h5"))
    assert np.all(np.diff(sizes) < reserved)
    assert finished < 400 or sum(reserved) < 3 * sizes[-1]


def test_path_must_be_a_path():
    with pytest.raises(TypeError, match="path"):
        solve(PROBLEMS["plain"], out=3)


def test_other_methods_write_too(tmp_path):
    reference = solve(with_steps(PROBLEMS["plain"], 5), method="reference", out=tmp_path / "run.h5")
    assert_same(dmft.load(tmp_path / "run.h5"), reference)
    with pytest.raises(ValueError, match="'causal'"):
        dmft.resume(tmp_path / "run.h5", steps=9)


def test_new_solve_replaces_an_older_trajectory_and_an_empty_file(whole, tmp_path):
    (tmp_path / "run.h5").touch()
    whole["modes"].save(tmp_path / "run.h5")
    new = solve(PROBLEMS["plain"], out=tmp_path / "run.h5", overwrite=True)
    assert_same(dmft.load(tmp_path / "run.h5"), new)
