"""Where results are written: nothing of anyone else is replaced or mixed with, and what a solve has finished is not lost."""

import contextlib
import dataclasses
import fcntl
import importlib
import os
import resource
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft import StorageError, StorageWarning, exclusive_file, storage

solving = importlib.import_module("dmft.solve")
PROBLEM = dmft.DeepLinear(depth=1), dmft.GaussianData(sample_ratio=1.5), dmft.GradientDescent(0.1, 300)
SHORT = *PROBLEM[:2], dmft.GradientDescent(0.1, 3)
OTHER = *PROBLEM[:2], dmft.GradientDescent(0.05, 200)


def solve(problem=SHORT, **options):
    return dmft.solve(*problem, progress=False, **options)


@pytest.fixture(scope="module")
def whole():
    return solve(PROBLEM)


@pytest.fixture(scope="module")
def other():
    return solve(OTHER)


def assert_is(path, trajectory):
    stored = dmft.load(path)
    assert (stored.training, stored.status, stored.finished) == (trajectory.training, trajectory.status, trajectory.finished)
    assert np.array_equal(stored.test_loss, trajectory.test_loss)
    for name, kernel in trajectory.kernels.items():
        assert np.array_equal(stored.kernels[name], np.tril(kernel))


def meanwhile(monkeypatch, action, after=1):
    """Let something happen after so many live writes."""
    writes, write = [], storage.LiveFile.write
    monkeypatch.setattr(storage, "_PAUSE", 0)
    monkeypatch.setattr(storage, "_PAUSE_PER_WRITE", 0)

    def watched(file, trajectory):
        write(file, trajectory)
        writes.append(file)
        if len(writes) == after:
            action()

    monkeypatch.setattr(storage.LiveFile, "write", watched)
    return writes


# ---- mode, owner, links


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
@pytest.mark.parametrize("way", ["save", "solve", "resume", "ensemble"])
def test_mode_is_kept(way, mode, tmp_path):
    if mode == 0o444 and os.geteuid() != 0:
        pytest.skip("read-only files are refused")
    path = tmp_path / "run.h5"
    ensemble = dmft.simulate(*SHORT, dim=4, seeds=1, progress=False)
    (ensemble if way == "ensemble" else solve()).save(path)
    os.chmod(path, mode)
    {
        "save": lambda: solve().save(path),
        "solve": lambda: solve(PROBLEM, out=path, overwrite=True),
        "resume": lambda: dmft.resume(path, steps=9, progress=False),
        "ensemble": lambda: ensemble.save(path),
    }[way]()
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_is_kept(tmp_path):
    solve(out=tmp_path / "run.h5")
    os.chown(tmp_path / "run.h5", 1234, 4321)
    dmft.resume(tmp_path / "run.h5", steps=9, progress=False)
    found = (tmp_path / "run.h5").stat()
    assert (found.st_uid, found.st_gid) == (1234, 4321)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_new_file_has_the_mode_of_new_files(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        solve(out=tmp_path / "run.h5")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.h5").stat().st_mode) == mode


def test_content_of_a_private_file_is_never_readable_by_others(tmp_path, monkeypatch):
    path, modes = tmp_path / "run.h5", []
    solve(out=path)
    os.chmod(path, 0o600)
    check = exclusive_file._check_space

    def watched(partial, growth):
        modes.append(stat.S_IMODE(partial.stat().st_mode))
        check(partial, growth)

    monkeypatch.setattr(exclusive_file, "_check_space", watched)
    dmft.resume(path, steps=9, progress=False)
    assert modes == [0o600]


def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    for number, link in enumerate(["run.h5", "new.h5"]):
        (tmp_path / link).symlink_to(tmp_path / "disk" / link)
        written = solve(out=tmp_path / link)
        resumed = dmft.resume(tmp_path / link, steps=9, progress=False)
        assert (tmp_path / link).is_symlink() and not (tmp_path / "disk" / link).is_symlink()
        assert written.finished == 4 and dmft.load(tmp_path / "disk" / link).finished == resumed.finished == 10
    assert sorted(os.listdir(tmp_path)) == ["disk", "new.h5", "run.h5"]
    (tmp_path / "loop.h5").symlink_to(tmp_path / "loop.h5")
    with pytest.raises(StorageError, match=r"loop\.h5 cannot be used"):
        solve(out=tmp_path / "loop.h5")


# ---- what another program does to the file meanwhile


def replaced(path, other):
    other.save(path.with_name("theirs.h5"))
    os.replace(path.with_name("theirs.h5"), path)


def moved(path, other):
    path.rename(path.with_name("moved.h5"))


def deleted(path, other):
    path.unlink()


def annotated(path, other):
    with storage.h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"


def made_a_folder(path, other):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("action", [replaced, moved, deleted, annotated, made_a_folder])
def test_file_that_another_program_takes_away_is_left_alone(action, after, whole, other, tmp_path, monkeypatch):
    path, beside = tmp_path / "run.h5", tmp_path / "run-1.h5"
    with monkeypatch.context() as patch:
        writes = meanwhile(patch, lambda: action(path, other), after)
        with pytest.warns(StorageWarning, match=r"run\.h5 was moved, deleted, changed or replaced .* written to .*run-1\.h5 instead"):
            solved = solve(PROBLEM, out=path)
    assert len(writes) > after
    assert solved.status is dmft.Status.COMPLETED and solved.report["written_to"] == str(beside)
    assert_is(beside, whole)
    if action is replaced:
        assert_is(path, other)
    elif action is moved:
        rows = dmft.load(tmp_path / "moved.h5")
        assert rows.status is dmft.Status.INTERRUPTED and np.array_equal(rows.test_loss, whole.test_loss[: rows.finished])
    elif action is annotated:
        assert "mine" in storage.info(path)
    names = {replaced: ["run.h5"], moved: ["moved.h5"], deleted: [], annotated: ["run.h5"], made_a_folder: ["run.h5"]}[action]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "run-1.h5"])


def test_file_that_appears_before_the_first_write_is_left_alone(whole, other, tmp_path, monkeypatch):
    path, march = tmp_path / "run.h5", solving._marched

    def slow(*arguments, **options):
        blocks = march(*arguments, **options)
        first = next(blocks)
        other.save(tmp_path / "theirs.h5")
        os.replace(tmp_path / "theirs.h5", path)
        yield first
        yield from blocks

    monkeypatch.setattr(solving, "_marched", slow)
    with pytest.warns(StorageWarning, match=r"run-1\.h5 instead"):
        solve(PROBLEM, out=path)
    assert_is(path, other)
    assert_is(tmp_path / "run-1.h5", whole)


def test_file_replaced_while_it_is_written_is_left_alone(whole, other, tmp_path, monkeypatch):
    path, seal = tmp_path / "run.h5", exclusive_file.seal

    def slow(partial):
        seal(partial)
        if partial.name == ".run.h5.partial":
            monkeypatch.setattr(exclusive_file, "seal", seal)
            replaced(path, other)

    monkeypatch.setattr(exclusive_file, "seal", slow)
    with pytest.warns(StorageWarning, match=r"run-1\.h5 instead"):
        solve(PROBLEM, out=path)
    assert_is(path, other)
    assert_is(tmp_path / "run-1.h5", whole)


def test_names_that_are_taken_are_not_used(whole, other, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    (tmp_path / "run-1.h5").write_text("a week of work")
    (tmp_path / "run-2.h5").symlink_to(tmp_path / "nowhere")
    meanwhile(monkeypatch, path.unlink)
    with pytest.warns(StorageWarning, match=r"run-3\.h5 instead"):
        solved = solve(PROBLEM, out=path)
    assert solved.report["written_to"] == str(tmp_path / "run-3.h5")
    assert (tmp_path / "run-1.h5").read_text() == "a week of work"


def test_folder_that_is_gone(whole, tmp_path, monkeypatch):
    path, work = tmp_path / "runs" / "run.h5", tmp_path / "work"
    path.parent.mkdir()
    work.mkdir()
    meanwhile(monkeypatch, lambda: path.parent.rename(tmp_path / "archive"))
    with contextlib.chdir(work), pytest.warns(StorageWarning, match=r"work/run-1\.h5 instead"):
        solved = solve(PROBLEM, out=path)
    assert solved.report["written_to"] == str(work / "run-1.h5")
    assert_is(work / "run-1.h5", whole)
    assert not path.parent.exists() and dmft.load(tmp_path / "archive" / "run.h5").status is dmft.Status.INTERRUPTED


def test_folder_that_is_gone_with_the_working_directory(whole, tmp_path, monkeypatch):
    path = tmp_path / "runs" / "run.h5"
    path.parent.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path / "temporary"))
    here = os.getcwd()
    meanwhile(monkeypatch, lambda: shutil.rmtree(path.parent))
    os.chdir(path.parent)
    try:
        with pytest.warns(StorageWarning, match=r"temporary/run-1\.h5 instead"):
            solve(PROBLEM, out=path)
    finally:
        os.chdir(here)
    assert_is(tmp_path / "temporary" / "run-1.h5", whole)


def test_resume_of_a_file_that_is_taken_away(whole, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    dataclasses.replace(whole, status=dmft.Status.INTERRUPTED, finished=100).save(path)
    meanwhile(monkeypatch, path.unlink)
    with pytest.warns(StorageWarning, match=r"run-1\.h5 instead"):
        resumed = dmft.resume(path, steps=300, progress=False)
    assert resumed.test_loss == pytest.approx(whole.test_loss, rel=1e-12)
    assert dmft.load(tmp_path / "run-1.h5").test_loss.tolist() == resumed.test_loss.tolist()


@contextlib.contextmanager
def full_disk(limit=0):
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_during_a_solve_loses_nothing(whole, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    with contextlib.ExitStack() as stack:
        meanwhile(monkeypatch, lambda: stack.enter_context(full_disk()))
        with pytest.warns(StorageWarning) as warned:
            solved = solve(PROBLEM, out=path)
    messages = [str(warning.message) for warning in warned]
    assert "the solve goes on in memory, and is written at its end" in messages[0]
    assert "the trajectory is in memory only" in messages[-1]
    assert solved.report["written_to"] is None and np.array_equal(solved.test_loss, whole.test_loss)
    assert dmft.load(path).status is dmft.Status.INTERRUPTED and os.listdir(tmp_path) == ["run.h5"]
    solved.save(path)
    assert_is(path, whole)


def test_disk_that_is_full_for_a_while(whole, tmp_path, monkeypatch):
    space, failures = exclusive_file._check_space, []

    def full_twice(partial, growth):
        if len(failures) < 2:
            failures.append(partial)
            raise OSError(28, "No space left on device")
        space(partial, growth)

    monkeypatch.setattr(exclusive_file, "_check_space", full_twice)
    monkeypatch.setattr(storage, "_PAUSE", 0)
    monkeypatch.setattr(storage, "_PAUSE_PER_WRITE", 0)
    with pytest.warns(StorageWarning, match=r"No space left on device.*goes on in memory"):
        solved = solve(PROBLEM, out=tmp_path / "run.h5")
    assert len(failures) == 2 and "written_to" not in solved.report
    assert_is(tmp_path / "run.h5", whole)
    assert os.listdir(tmp_path) == ["run.h5"]


# ---- finished results


def diverged(path):
    solve((*PROBLEM[:2], dmft.GradientDescent(9.0, 80)), out=path)


def interrupted(path):
    dataclasses.replace(solve(), status=dmft.Status.INTERRUPTED, finished=2).save(path)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (lambda path: solve(out=path), r"holds a trajectory, completed with 4 rows: .*dmft\.resume.*dmft\.load.*overwrite=True"),
        (diverged, r"holds a trajectory, diverged with \d+ rows: read it with dmft\.load, .*overwrite=True"),
        (interrupted, r"holds a trajectory, interrupted with 2 rows: .*dmft\.resume.*overwrite=True"),
    ],
)
def test_solve_replaces_no_trajectory_unless_told(before, message, tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    before(path)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(solving, "_marched", lambda *problem, **options: pytest.fail("worked before the check"))
        with pytest.raises(StorageError, match=rf"run\.h5 {message}"):
            solve(OTHER, out=path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["run.h5"]
    assert_is(path, dmft.load(path))
    solve(OTHER, out=path, overwrite=True)
    assert dmft.load(path).training == OTHER[2]


def test_overwrite_is_a_flag():
    with pytest.raises(TypeError, match="overwrite must be True or False"):
        solve(overwrite="yes")


# ---- what killed writers leave


def leave(folder):
    (folder / ".run.h5.partial").write_text("half a file")
    (folder / ".run.h5.lock").touch()


@pytest.mark.parametrize("read", [dmft.load, storage.info, lambda path: solve().save(path)])
def test_leftovers_are_removed_by_the_next_load_or_write(read, tmp_path):
    solve().save(tmp_path / "run.h5")
    leave(tmp_path)
    read(tmp_path / "run.h5")
    assert os.listdir(tmp_path) == ["run.h5"]


def test_leftovers_of_a_first_write_are_removed_too(tmp_path):
    leave(tmp_path)
    with pytest.raises(StorageError, match="does not exist"):
        dmft.load(tmp_path / "run.h5")
    assert os.listdir(tmp_path) == []


def test_what_a_living_writer_holds_is_left_alone(tmp_path):
    solve().save(tmp_path / "run.h5")
    leave(tmp_path)
    with open(tmp_path / ".run.h5.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert dmft.load(tmp_path / "run.h5").finished == 4
        assert sorted(os.listdir(tmp_path)) == [".run.h5.lock", ".run.h5.partial", "run.h5"]


def test_lock_of_another_writer_in_a_new_folder_is_left_alone(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    with storage.LiveFile(folder / "run.h5"):
        folder.rename(tmp_path / "archive")
        folder.mkdir()
        (folder / ".run.h5.lock").touch()
    assert os.listdir(folder) == [".run.h5.lock"]


def test_require_regular(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    for name in ("file", "nothing", "file/below"):
        exclusive_file.require_regular(tmp_path / name)
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(StorageError, match="not a regular file: it is left as it is"):
            exclusive_file.require_regular(path)
