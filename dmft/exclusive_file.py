"""Writing of HDF5 files that are never unreadable and never have two writers.

A file is never changed in place. Each write copies the bytes of the visible file to a hidden one beside it (finished rows are not
compressed again), appends the new rows, syncs it to disk and renames it over the visible one. So a process killed at any moment
leaves the previous complete file, and a reader never meets a half-written one; a full disk is found before HDF5 meets it. HDF5's
own single-writer mode is not used: it cannot add attributes or rows of several datasets at once, and leaves a file marked as open
when its writer is killed.

The right to write is an advisory lock on a hidden file beside the target, which the operating system drops when its holder dies.
"""

import contextlib
import fcntl
import os
import shutil

import h5py

from .errors import StorageError

_LIBRARY = ("v110", "v110")


@contextlib.contextmanager
def locked(path):
    """Hold the lock on a file beside `path`, removed at the end while still locked; who opened it before has to try again."""
    lock = _beside(path, ".lock")
    descriptor = _try_lock(path, lock)
    while not _is_open_as(lock, descriptor):
        os.close(descriptor)
        descriptor = _try_lock(path, lock)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _try_lock(path, lock):
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}; its folder must exist and be writable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise StorageError(f"{path} is being written by another solve, resume or save; wait, or take another file") from error
        raise StorageError(f"{path} cannot be written: its file system has no locks ({error.strerror}); choose another folder") from error
    return descriptor


def _is_open_as(lock, descriptor):
    try:
        return os.path.samestat(os.stat(lock), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def replacing(path, growth, keep=False):
    """An HDF5 file, empty or with the content of `path`, that takes the place of `path` once complete; `growth` bounds its new bytes."""
    partial = _beside(path, ".partial")
    try:
        if keep:
            shutil.copyfile(path, partial)
        else:
            partial.write_bytes(b"")
        _check_space(partial, growth)
        with h5py.File(partial, "r+" if keep else "w", libver=_LIBRARY) as file:
            yield file
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise StorageError(f"{path} cannot be written ({error}); its previous content, if any, is unchanged") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_space(partial, growth):
    """Raise OSError where disk or quota have no room for `growth` more bytes: HDF5 crashes the process when a write fails."""
    if hasattr(os, "posix_fallocate"):
        with open(partial, "r+b") as file:
            os.posix_fallocate(file.fileno(), os.path.getsize(partial), growth)


def _beside(path, ending):
    return path.with_name(f".{path.name}{ending}")
