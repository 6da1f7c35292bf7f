"""Results in HDF5 files: one file per trajectory or ensemble, never unreadable, never two writers, no damage that goes unseen.

File format
-----------
Root attributes, all but `schema` and `finished` text: `format` ("dmft-trajectory" or "dmft-ensemble"), `schema` (integer), `spec`
(canonical JSON of network, data, training and everything else that decided the result), `spec_sha256`, `environment` (JSON of
`dmft.about` in the process that wrote last), `created`, `report` (JSON), `content_sha256`; of trajectories also `status` and
`finished`, the number of exact time rows. Infinity is written "inf" in JSON. Every dataset names its dimensions and carries a
`description`.

A trajectory file holds its finished rows and nothing else. Which datasets there are is said by the class of the trajectory (`stored`),
which follows from the type of the network. Of deep linear networks: `test_loss` and `train_loss`, shape (finished,), and under
`kernels` the lower triangles, shape ([L,] n, n) with n = finished * outputs. Chunks of triangles are 64 rows high, so that the upper
triangle is never allocated. All datasets pass shuffle, lzf and a checksum. Measured on 18 kernels of 2000 rows (275 MiB of triangles):
lzf 172 MiB in 2.2 s, gzip 165 MiB in 3.9 s, nothing 324 MiB in 1.2 s, against 27 s for the solve.

Checksums
---------
The first 512 bytes of a file are its seal, a checksum of all that follows (`dmft.sealed_file`), which is checked before HDF5 sees the
file. Where it is right the file is read at once. A file with a broken seal, or none as in schema 1, is read in a process of its own
(`dmft.apart`), since HDF5 hangs or crashes on some damaged files; `content_sha256` then tells a file to which another program has
added something, which is read, from one whose attributes, numbers or dimensions are no longer those that were written. Of a file of
211 MiB, the checksums take 0.3 of 5 s of a write, and the check of the seal 0.2 of 2.3 s of `load`; a process of its own, 0.5 s.

Writing
-------
How a write takes the place of the file at once, and who may write: `dmft.exclusive_file`. During a solve the copies are timed to take
about 10% of the time; the last write comes on top. A solve whose file is taken away, or cannot be written any more, goes on.

Schema policy
-------------
identical
    The file's schema is `SCHEMA`: read.
compatible
    Same schema with attributes or datasets that this version does not know: read, the unknown is left alone. Files that another
    program has changed, and files of an older schema, are written anew by `dmft.resume`, without the unknown.
older
    Read for ever: the change that raises `SCHEMA` brings the function that turns the older content into the newer while loading,
    and tests/storage keeps files of every schema. Schema 1 had no checksums of everything, and other names of some datasets.
incompatible
    Newer schema, or a problem this version cannot state: `StorageError` that asks for an upgrade.
"""

import contextlib
import errno
import math
import os
import tempfile
import time
import warnings
from pathlib import Path

import h5py

from . import checks
from . import file_content as content
from .apart import apart, damage
from .errors import StorageError, StorageWarning
from .exclusive_file import Displaced, free_name, held, remove_leftovers, require_regular
from .file_content import ENSEMBLE, TRAJECTORY
from .interruption import deferred
from .sealed_file import is_hdf5, is_sealed
from .trajectory import Status, Trajectory

_PAUSE, _PAUSE_PER_WRITE = 2.0, 10.0
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@deferred()
def save(result, path):
    """Write a `Trajectory` or an `Ensemble` to an HDF5 file that `load` reads back, at once or not at all.

    An existing file of the same format is replaced; its mode, owner and place behind a link stay.

    Raises
    ------
    StorageError
        If the file cannot be written, exists and is something else, or has another writer; if a value cannot be stored.
    """
    if isinstance(result, Trajectory):
        with LiveFile(path) as file:
            file.write(result)
        return
    with _claimed(path, ENSEMBLE, overwrite=True) as place:
        attributes = content.ensemble_attributes(result)
        with place.replacing(content.ensemble_space(result, attributes)) as file:
            content.write_ensemble(file, attributes, result)


def require_writable(path, kind=ENSEMBLE):
    """Raise, before any work, the StorageError with which a later `save` to `path` would end."""
    with _claimed(path, kind, overwrite=True):
        pass


class LiveFile:
    """Context manager: the only writer of a trajectory file while a solve goes on.

    Entering takes the lock and raises StorageError, before any work, where the file cannot be written: missing or read-only
    folder, another writer, no regular file, or a file that is not a trajectory.

    Parameters
    ----------
    path : path
    overwrite : bool
        Replace a trajectory that is there, at the first write. If False, it is an error, too.
    """

    def __init__(self, path, overwrite=True):
        self._path = path
        self._overwrite = overwrite
        self._claims = contextlib.ExitStack()
        self._rows = 0
        self._due = -math.inf

    def __enter__(self):
        self._place = self._claims.enter_context(_claimed(self._path, TRAJECTORY, self._overwrite))
        self._path = self._place.path
        return self

    def __exit__(self, *exception):
        return self._claims.__exit__(*exception)

    def read(self):
        """The stored trajectory, to be continued: later writes keep its rows, or write it anew if it is not as this version left it."""
        sealed = _examined(self._path)
        trajectory = _rebuilt(self._path, _content(self._path, sealed))
        self._rows = trajectory.finished if sealed else 0
        return trajectory

    def forget(self):
        """Let the next write replace all rows that are there."""
        self._rows = 0

    def write(self, trajectory):
        """Write all rows not written yet, and how the solve ended."""
        attributes = content.trajectory_attributes(trajectory)
        space = content.trajectory_space(trajectory, self._rows, attributes)
        with self._place.replacing(space, keep=self._rows > 0) as file:
            content.write_trajectory(file, attributes, trajectory, self._rows)
        self._rows = trajectory.finished

    def update(self, trajectory):
        """`write`, if it is time: at once the first time, then so as to take about 10% of the time. A failure is a warning."""
        if trajectory.status is Status.INTERRUPTED and time.monotonic() >= self._due:
            began = time.monotonic()
            try:
                self.write(trajectory)
            except Displaced as error:
                self._write_elsewhere(trajectory, error)
            except StorageError as error:
                _warn(f"{error}; the solve goes on in memory, and is written at its end")
            ended = time.monotonic()
            self._due = ended + max(_PAUSE, _PAUSE_PER_WRITE * (ended - began))

    def finish(self, trajectory):
        """`write`, or, where that fails, another file instead; ``report["written_to"]`` then says which, or None if there is none."""
        try:
            self.write(trajectory)
            written = True
        except StorageError as error:
            written = self._write_elsewhere(trajectory, error)
        if not written or self._place.path != self._path:
            trajectory.report["written_to"] = str(self._place.path) if written else None

    def _write_elsewhere(self, trajectory, error):
        """Go over to a free name in the first folder that takes the trajectory; whether there is one."""
        before = self._place
        self._rows = 0
        for folder in (lambda: self._path.parent, os.getcwd, tempfile.gettempdir):
            with contextlib.suppress(StorageError, OSError):
                self._place = self._claims.enter_context(held(free_name(self._path, folder())))
                self.write(trajectory)
                _warn(f"{error}. The solve is written to {self._place.path} instead")
                return True
        self._place = before
        _warn(f"{error}. Nor can any other file be written: the trajectory is in memory only; keep it with its method save")
        return False


@deferred()
def load(path):
    """Read a file written by `save` or by a solve with ``out=``.

    Parameters
    ----------
    path : path

    Returns
    -------
    Trajectory or Ensemble

    Raises
    ------
    StorageError
        If the file is missing, damaged, edited, not one of ours, of a newer schema, or open for writing in another program; the
        message says which and what to do.

    Examples
    --------
    >>> training = dmft.GradientDescent(0.2, 20)
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), training, out="run.h5", progress=False)
    >>> dmft.load("run.h5") == trajectory
    True
    """
    return _rebuilt(path, _content(path, _examined(path)))


def info(path):
    """Printable description of a file of any schema: what it is, whether this version reads it, and what it holds.

    Raises
    ------
    StorageError
        If the file is missing, damaged, or not HDF5.
    """
    sealed = _examined(path)
    return f"{path}: {_described(path, sealed) if sealed else apart(_described, path, sealed)}"


def _checked(path, name="path"):
    """The absolute path, links followed; a regular file, or nothing, is there."""
    path = Path(checks.path(name, path))
    require_regular(path)
    return path.resolve()


# ---- reading


def _examined(path):
    """Whether the file at `path`, which is HDF5 at least, is byte for byte as dmft left it."""
    remove_leftovers(_checked(path))
    with _failure_is_an_error(path):
        if is_hdf5(path):
            return is_sealed(path)
    raise StorageError(f"{path} is not an HDF5 file, or was cut off or overwritten at its beginning")


@contextlib.contextmanager
def _failure_is_an_error(path):
    """What the system says when bytes are read is a StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def _content(path, sealed):
    return _read(path, sealed) if sealed else apart(_read, path, sealed)


def _read(path, sealed):
    with _opened(path) as file:
        return content.read(file, sealed)


def _described(path, sealed):
    with _opened(path) as file:
        return content.describe(file, sealed)


def _identified(path):
    """Format, status and number of finished rows of a file; None for those that it does not state."""
    with _opened(path) as file:
        return [content.plain(file.attrs.get(name)) for name in ("format", "status", "finished")]


def _rebuilt(path, read):
    with _damage_is_an_error(path):
        try:
            return content.rebuild(read)
        except StorageError as error:
            raise StorageError(f"{path} cannot be read: {error}") from error


@contextlib.contextmanager
def _opened(path):
    """The open HDF5 file; whatever goes wrong with it is a StorageError."""
    with _damage_is_an_error(path), _open(path) as file:
        yield file


def _open(path):
    try:
        return h5py.File(path)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise StorageError(f"{path} is open for writing in another program: close it there, and try again") from error
        if "already open for write" in str(error):
            raise StorageError(
                f"{path} is marked as open for writing: close it in the program that has it open, or, if that program was killed, "
                f"clear the mark with `h5clear -s {path}`"
            ) from error
        if error.errno in _WITHOUT_LOCKS:  # locks of HDF5 are not needed to read a file that is replaced, never changed
            return h5py.File(path, locking=False)
        raise


@contextlib.contextmanager
def _damage_is_an_error(path):
    try:
        yield
    except StorageError:
        raise
    except MemoryError as error:
        raise StorageError(f"{path} cannot be read: there is not memory enough ({error})") from error
    except Exception as error:
        raise StorageError(damage(path, f"{type(error).__name__}: {error}")) from error


# ---- the only writer


@contextlib.contextmanager
def _claimed(path, kind, overwrite):
    """Hold the only right to write a file of this kind; yields its `Place`."""
    path = _checked(path, "the file to write")
    with held(path) as place:
        if path.exists() and path.stat().st_size > 0:
            _check_replaceable(path, kind, overwrite)
        yield place


def _check_replaceable(path, kind, overwrite):
    alone = "it is left as it is; choose another name, or remove it"
    with _failure_is_an_error(path):
        hdf5, sealed = is_hdf5(path), is_sealed(path)
    if not hdf5:
        raise StorageError(f"{path} exists and is not a {kind} file: {alone}")
    try:
        found, status, finished = _identified(path) if sealed else apart(_identified, path)
    except StorageError as error:
        raise StorageError(f"{path} exists, and what it is cannot be read: {alone}. {error}") from error
    if found != kind:
        raise StorageError(f"{path} exists and is not a {kind} file: {alone}")
    if not overwrite:
        remedy = "read it with dmft.load" if status == Status.DIVERGED.value else "continue it with dmft.resume, read it with dmft.load"
        raise StorageError(f"{path} holds a trajectory, {status} with {finished} rows: {remedy}, or replace it with overwrite=True")
    if not os.access(path, os.W_OK):
        raise StorageError(f"{path} is read-only; choose another name, or make it writable")


def _warn(message):
    warnings.warn(message, StorageWarning, stacklevel=3)
