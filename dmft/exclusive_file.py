"""Writing of HDF5 files that are never unreadable, never have two writers, and never take the place of anything else.

A file is never changed in place. Each write copies the bytes of the visible file to a hidden one beside it (finished rows are not
compressed again), appends the new rows, seals it, syncs it to disk and renames it over the visible one. So a process killed at any
moment leaves the previous complete file, and a reader never meets a half-written one; a full disk is found before HDF5 meets it.
HDF5's own single-writer mode is not used: it cannot add attributes or rows of several datasets at once, and leaves a file marked as
open when its writer is killed.

The new file has mode and owner of the one whose place it takes, as far as the system allows. Links are followed.

The right to write is an advisory lock on a hidden file beside the target, which the operating system drops when its holder dies. It
binds those who ask for it; against all others, a writer looks before each write whether the file is still the one that it left.
"""

import contextlib
import fcntl
import os
import shutil
import stat
from pathlib import Path

import h5py

from .errors import StorageError
from .sealed_file import BLOCK, seal

_LIBRARY = ("v110", "v110")
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a character device",
    stat.S_ISBLK: "a block device",
}


class Displaced(StorageError):
    """The file at a path is not the one that its writer left there."""


def require_regular(path):
    """Raise StorageError if `path` exists and is not a regular file or a link to one: a write would destroy it, or wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageError(f"{path} cannot be used: {error.strerror}; choose another name") from error
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS.items() if is_kind(mode)), "no file")
        raise StorageError(f"{path} is {kind}, not a regular file: it is left as it is; choose another name")


class Place:
    """A path that this process alone may write, and the file that was last seen there.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path):
        self.path = path
        self._seen = {_identity(path)}

    @contextlib.contextmanager
    def replacing(self, growth, keep=False):
        """An HDF5 file, empty or with the content of the present one, that takes its place once complete.

        Parameters
        ----------
        growth : int
            Upper bound of the new bytes.
        keep : bool
            Start from the content of the present file.

        Raises
        ------
        Displaced
            If another program has moved, deleted, changed or replaced the file meanwhile; what is there now is left alone.
        StorageError
            If the file cannot be written; the present one is unchanged.
        """
        partial = _beside(self.path, ".partial")
        try:
            self._check()
            _create(partial, self.path)
            if keep:
                shutil.copyfile(self.path, partial)
            _check_space(partial, growth)
            with h5py.File(partial, "r+" if keep else "w", libver=_LIBRARY, **{} if keep else {"userblock_size": BLOCK}) as file:
                yield file
            seal(partial)
            self._check()
            new = _identity(partial)
            self._seen.add(new)
            os.replace(partial, self.path)
            self._seen = {new}
        except StorageError:
            raise
        except (OSError, RuntimeError) as error:
            raise StorageError(f"{self.path} cannot be written ({error}); its previous content, if any, is unchanged") from error
        finally:
            _remove(partial)

    def _check(self):
        if _identity(self.path) not in self._seen:
            raise Displaced(f"{self.path} was moved, deleted, changed or replaced by another program: what is there now is left alone")


def _identity(path):
    """What tells a file from every other one and from its own later states; None if there is none."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _create(partial, model):
    """An empty file with owner and mode of `model` as far as may be, or those of a new file if there is none."""
    _remove(partial)
    exists = model.exists()
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if exists else 0o666))
    if exists:
        found = model.stat()
        for copy, *like in ((os.chown, found.st_uid, -1), (os.chown, -1, found.st_gid), (os.chmod, stat.S_IMODE(found.st_mode))):
            with contextlib.suppress(OSError):
                copy(partial, *like)


def _check_space(partial, growth):
    """Raise OSError where disk or quota have no room for `growth` more bytes: HDF5 crashes the process when a write fails."""
    if hasattr(os, "posix_fallocate"):
        with open(partial, "r+b") as file:
            os.posix_fallocate(file.fileno(), os.path.getsize(partial), growth)


# ---- the lock


@contextlib.contextmanager
def held(path):
    """The `Place` at `path`, which nobody else holds; what a writer that was killed has left beside it is removed."""
    lock = _beside(path, ".lock")
    descriptor = _try_lock(path, lock)
    while not _is_open_as(lock, descriptor):
        os.close(descriptor)
        descriptor = _try_lock(path, lock)
    try:
        _remove(_beside(path, ".partial"))
        yield Place(path)
    finally:
        if _is_open_as(lock, descriptor):
            _remove(lock)
        os.close(descriptor)


def remove_leftovers(path):
    """Remove what a writer that was killed has left beside `path`; what a living one holds is left alone."""
    if any(_beside(path, ending).exists() for ending in (".lock", ".partial")):
        with contextlib.suppress(StorageError, OSError), held(path):
            pass


def free_name(path, folder):
    """A path in a folder with a name like that of `path`, where there is nothing yet."""
    number = 1
    while os.path.lexists(name := Path(folder) / f"{path.stem}-{number}{path.suffix}"):
        number += 1
    return name


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
    except OSError:
        return False


def _beside(path, ending):
    return path.with_name(f".{path.name}{ending}")


def _remove(path):
    with contextlib.suppress(OSError):
        path.unlink()
