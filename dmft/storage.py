"""Results in HDF5 files: one file per trajectory or ensemble, never unreadable, never two writers.

File format
-----------
Root attributes, all but `schema` and `finished` text: `format` ("dmft-trajectory" or "dmft-ensemble"), `schema` (integer), `spec`
(canonical JSON of network, data, training and everything else that decided the result), `spec_sha256`, `environment` (JSON of
`dmft.about` in the process that wrote last), `created`, `report` (JSON); of trajectories also `status` and `finished`, the number
of exact time rows. Infinity is written "inf" in JSON. Every dataset names its dimensions and carries a `description`.

A trajectory file holds its finished rows and nothing else. Which datasets there are is said by the class of the trajectory (`stored`),
which follows from the type of the network. Of deep linear networks: `test_loss` and `train_loss`, shape (finished,), and under
`kernels` the lower triangles, shape ([L,] n, n) with n = finished * outputs. Chunks of triangles are 64 rows high, so that the upper
triangle is never allocated, and pass shuffle, lzf and a checksum. Measured on 18 kernels of 2000 rows (275 MiB of triangles): lzf 172 MiB
in 2.2 s, gzip 165 MiB in 3.9 s, nothing 324 MiB in 1.2 s, against 27 s for the solve.

Writing
-------
How a write takes the place of the file at once, and who may write: `dmft.exclusive_file`. During a solve the copies are timed to take
about 10% of the time; the last write comes on top.

Schema policy
-------------
identical
    The file's schema is `SCHEMA`: read.
compatible
    Same schema with attributes or datasets that this version does not know: read, the unknown is left alone.
older
    Read for ever: the change that raises `SCHEMA` brings the function that turns the older content into the newer while loading,
    and tests/storage keeps one file of every schema. Schema 1 is the first.
incompatible
    Newer schema, or a problem this version cannot state: `StorageError` that asks for an upgrade.
"""

import contextlib
import hashlib
import json
import math
import os
import time
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np

from . import activations, data, training  # noqa: F401  (register the specifications that `from_dict` rebuilds)
from .about import about
from .ensemble import FunctionEnsemble, KernelEnsemble, LinearEnsemble
from .errors import StorageError
from .exclusive_file import locked, replacing
from .function_trajectory import FunctionTrajectory
from .kernel_trajectory import KernelTrajectory
from .linear_trajectory import LinearTrajectory
from .networks import MLP, DeepLinear, DeepNet, ShallowNet
from .specification import canonical_json, from_dict
from .trajectory import Status, Trajectory

SCHEMA = 1
TRAJECTORY, ENSEMBLE = "dmft-trajectory", "dmft-ensemble"
_PROBLEM = ("network", "data", "training")
_TRAJECTORIES = {DeepLinear: LinearTrajectory, ShallowNet: FunctionTrajectory, DeepNet: FunctionTrajectory, MLP: KernelTrajectory}
_ENSEMBLES = {DeepLinear: LinearEnsemble, ShallowNet: FunctionEnsemble, DeepNet: FunctionEnsemble, MLP: KernelEnsemble}
_CHUNK = (64, 128)
_CHUNK_NUMBERS = 1024
_FILTERS = {"compression": "lzf", "shuffle": True, "fletcher32": True}
_PAUSE, _PAUSE_PER_WRITE = 2.0, 10.0
_NAME_WIDTH, _VALUE_WIDTH = 33, 400
_FORMER_NAMES = {
    "train_loss": "loss",
    "train_loss_error": "loss_error",
    "tangent_grams": "tangent_kernel",
    "tangent_gram_errors": "tangent_kernel_error",
}


def save(result, path):
    """Write a `Trajectory` or an `Ensemble` to an HDF5 file that `load` reads back, at once or not at all.

    An existing file of the same format is replaced.

    Raises
    ------
    StorageError
        If the file cannot be written, exists and is something else, or has another writer; if a value cannot be stored.
    """
    if isinstance(result, Trajectory):
        with LiveFile(path) as file:
            file.finish(result)
        return
    with _claimed(path, ENSEMBLE) as path:
        attributes = _ensemble_attributes(result)
        arrays = result.arrays()
        with replacing(path, _space(attributes, 8 * len(result.times) + sum(array.nbytes for array in arrays.values()))) as file:
            _set_attributes(file, attributes)
            _add_dataset(file, "times", result.times, ("time",), "step; entries are before that step")
            for name, array in arrays.items():
                _add_dataset(file, name, array, result.stored[name].dimensions, result.stored[name].description)


class LiveFile:
    """Context manager: the only writer of a trajectory file while a solve goes on.

    Entering takes the lock and raises StorageError, before any work, where the file cannot be written: missing or read-only
    folder, another writer, or a file that is not a trajectory. A trajectory of another solve is replaced by the first write.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path):
        self._claim = _claimed(path, TRAJECTORY)
        self._rows = 0
        self._due = -math.inf

    def __enter__(self):
        self._path = self._claim.__enter__()
        return self

    def __exit__(self, *exception):
        return self._claim.__exit__(*exception)

    def read(self):
        """The stored trajectory, to be continued: later writes keep its rows."""
        trajectory = load(self._path)
        self._rows = trajectory.finished
        return trajectory

    def update(self, trajectory):
        """Write the rows finished since the last write, if it is time: at once the first time, then so as to take about 10% of the time."""
        if trajectory.status is Status.INTERRUPTED and time.monotonic() >= self._due:
            began = time.monotonic()
            self.finish(trajectory)
            ended = time.monotonic()
            self._due = ended + max(_PAUSE, _PAUSE_PER_WRITE * (ended - began))

    def finish(self, trajectory):
        """Write all rows not written yet, and how the solve ended."""
        attributes = _trajectory_attributes(trajectory)
        growth = _space(attributes, _growth(trajectory, self._rows))
        with replacing(self._path, growth, keep=self._rows > 0) as file:
            _set_attributes(file, attributes)
            if self._rows == 0:
                _create_datasets(file, trajectory)
            _append(file, trajectory, self._rows)
        self._rows = trajectory.finished


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
        If the file is missing, damaged, edited, not one of ours, or of a newer schema; the message says which and what to do.

    Examples
    --------
    >>> training = dmft.GradientDescent(0.2, 20)
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), training, out="run.h5", progress=False)
    >>> dmft.load("run.h5") == trajectory
    True
    """
    with _opened(path) as file:
        obstacle = _obstacle(file)
        if obstacle:
            raise StorageError(f"{path} cannot be read: {obstacle}")
        return _read_trajectory(file) if file.attrs["format"] == TRAJECTORY else _read_ensemble(file)


def info(path):
    """Printable description of a file of any schema: what it is, whether this version reads it, and what it holds.

    Raises
    ------
    StorageError
        If the file is missing, damaged, or not HDF5.
    """
    with _opened(path) as file:
        attributes = dict(file.attrs)
        lines = [f"{path}: {attributes.pop('format', 'no file of dmft')}, schema {attributes.pop('schema', 'unknown')}"]
        obstacle = _obstacle(file)
        lines.append(_line("readable", f"no: {obstacle}" if obstacle else "yes"))
        for name in ("spec", "environment", "report"):
            attributes |= {f"{name}.{key}": value for key, value in json.loads(attributes.pop(name, "{}")).items()}
        lines += [_line(name, value) for name, value in sorted(attributes.items())]
        lines.append(_line("size", f"{os.path.getsize(path) / 2**20:.2f} MiB"))
        file.visititems(lambda name, node: lines.append(_line(name, _shape(node))) if isinstance(node, h5py.Dataset) else None)
    return "\n".join(lines)


def _line(name, value):
    value = str(value)
    return f"  {name:{_NAME_WIDTH}}  {value if len(value) <= _VALUE_WIDTH else value[:_VALUE_WIDTH] + ' ...'}"


def _shape(dataset):
    dimensions = ", ".join(f"{dimension.label}: {size}" for dimension, size in zip(dataset.dims, dataset.shape))
    return f"({dimensions})  {dataset.attrs.get('description', '')}"


# ---- what is stored


def _spec(result, **decisive):
    """Canonical JSON of the problem and of all that decided the result."""
    return canonical_json({name: getattr(result, name).to_dict() for name in _PROBLEM} | _encoded("spec", decisive))


def _common_attributes(kind, spec, report):
    return {
        "format": kind,
        "schema": SCHEMA,
        "spec": spec,
        "spec_sha256": hashlib.sha256(spec.encode()).hexdigest(),
        "environment": canonical_json(_encoded("environment", about())),
        "report": canonical_json(_encoded("report", report)),
    }


def _trajectory_attributes(trajectory):
    spec = _spec(trajectory, method=trajectory.method, options=trajectory.options)
    common = _common_attributes(TRAJECTORY, spec, trajectory.report)
    return common | {"status": trajectory.status.value, "finished": trajectory.finished}


def _ensemble_attributes(ensemble):
    return _common_attributes(ENSEMBLE, _spec(ensemble, **ensemble.decisive()), {"elapsed": ensemble.elapsed})


def _encoded(name, value):
    """JSON-able form of plain values and arrays; StorageError for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _encoded(f"{name}[{key!r}]", entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(f"{name}[{i}]", entry) for i, entry in enumerate(value)]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, (str, bool, int, float)) and value == value:
        return value
    raise StorageError(f"{name} cannot be stored: it only numbers but nan, text, lists and text-keyed dicts can; got {value!r}")


def _decoded(value):
    if isinstance(value, dict):
        return {key: _decoded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_decoded(entry) for entry in value]
    return float(value) if value in ("inf", "-inf") else value


def _set_attributes(file, attributes):
    """Set what differs: HDF5 does not reuse the space of replaced text."""
    for name, value in attributes.items():
        if file.attrs.get(name) != value:
            file.attrs[name] = value
    if "created" not in file.attrs:
        file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")


def _create_datasets(file, trajectory):
    """Datasets with the fixed arrays, and empty ones that grow with the rows."""
    for name, array in trajectory.arrays().items():
        stored = trajectory.stored[name]
        if stored.layout in ("fixed", "filled"):
            _add_dataset(file, name, array, trajectory.labels(name), stored.description)
            continue
        if stored.layout == "triangle":
            fixed, growing, chunks, labels = array.shape[:-2], 2, _CHUNK, stored.dimensions
            if trajectory.network.outputs > 1:
                labels = [label.replace("time", "time, output") for label in labels]
        else:
            fixed, growing, chunks = (), 1, (max(1, _CHUNK_NUMBERS // max(math.prod(array.shape[1:]), 1)),)
            labels = trajectory.labels(name)
        after = array.shape[len(fixed) + growing :]
        largest, pieces = (*[None] * growing, *after), (*chunks, *after)
        if stored.layout == "growing":
            largest, pieces = (*largest[:-1], None), (1, 1, *after[1:-1], _CHUNK[0])
        _add_dataset(
            file,
            name,
            np.empty((*fixed, *[0] * growing, *after)),
            labels,
            stored.description,
            maxshape=(*fixed, *largest),
            chunks=(*[1] * len(fixed), *pieces),
            **_FILTERS,
        )


def _add_dataset(file, name, values, labels, description, **storage):
    dataset = file.create_dataset(name, data=values, **storage)
    dataset.attrs["description"] = description
    for dimension, label in zip(dataset.dims, labels):
        dimension.label = label


def _append(file, trajectory, rows):
    """Write the finished rows of `trajectory` from row number `rows` on."""
    finished = trajectory.finished
    for name, array in trajectory.arrays().items():
        dataset, layout = file[name], trajectory.stored[name].layout
        if layout == "filled":
            dataset[...] = array
        elif layout in ("rows", "growing"):
            dataset.resize((finished, *array.shape[1:]))
            dataset[rows:] = array[rows:finished]
        elif layout == "triangle":
            outputs = trajectory.network.outputs
            dataset.resize((*array.shape[:-2], finished * outputs, finished * outputs))
            for start, stop in _slabs(rows * outputs, finished * outputs):
                dataset[..., start:stop, :stop] = np.tril(array[..., start:stop, :stop], start)


def _growth(trajectory, rows):
    """Bytes of the chunks that `_append` writes, uncompressed."""
    height, width = _CHUNK
    numbers = 0
    for name, array in trajectory.arrays().items():
        if trajectory.stored[name].layout == "triangle":
            outputs = trajectory.network.outputs
            slabs = _slabs(rows * outputs, trajectory.finished * outputs)
            numbers += math.prod(array.shape[:-2]) * sum(height * (stop + width) for _, stop in slabs)
        elif trajectory.stored[name].layout == "growing":
            numbers += (trajectory.finished - rows) * math.prod(array.shape[1:-1]) * (array.shape[-1] + _CHUNK[0])
        else:
            numbers += array[rows : trajectory.finished].size + 2 * _CHUNK_NUMBERS
    return 8 * numbers


def _space(attributes, array_bytes):
    """Upper bound of the bytes that a write takes: its arrays, the index of their chunks, text, and what every file has."""
    return 2**18 + 2 * sum(len(str(value)) for value in attributes.values()) + array_bytes + array_bytes // 64


def _slabs(first, last):
    """Row ranges of whole chunks."""
    height = _CHUNK[0]
    for start in range(first - first % height, last, height):
        yield max(start, first), min(start + height, last)


# ---- what is read


def _name_in(file, name):
    """Name of a dataset in a file, which may be one from before results of all networks had one vocabulary."""
    return name if name in file else _FORMER_NAMES.get(name, name)


def _obstacle(file):
    """Why this version cannot read an open file and what to do, or None."""
    kind, schema = file.attrs.get("format"), file.attrs.get("schema")
    if kind not in (TRAJECTORY, ENSEMBLE):
        return f"it is not a file of dmft (its format is {kind!r})"
    if schema > SCHEMA:
        return f"written by schema {schema}, this version reads up to {SCHEMA}; upgrade dmft"
    if hashlib.sha256(file.attrs["spec"].encode()).hexdigest() != file.attrs["spec_sha256"]:
        return "its problem was edited after it was written (spec_sha256 differs); restore the file, or solve the edited problem anew"
    try:
        _read_spec(file)
    except (ValueError, TypeError) as error:
        return f"it states a problem that this version does not know ({error}); upgrade dmft"
    return None


def _read_spec(file):
    """Network, data and training by name, and all the rest that decided the result."""
    spec = json.loads(file.attrs["spec"])
    return {name: from_dict(spec.pop(name)) for name in _PROBLEM}, _decoded(spec)


def _read_trajectory(file):
    problem, decisive = _read_spec(file)
    status, finished = Status(file.attrs["status"]), int(file.attrs["finished"])
    rows = finished if status is Status.INTERRUPTED else problem["training"].steps + 1
    kind = _TRAJECTORIES[type(problem["network"])]
    names = {name: _name_in(file, name) for name in kind.stored}
    arrays = {name: _READERS[kind.stored[name].layout](file[own], finished, rows) for name, own in names.items() if own in file}
    report = _decoded(json.loads(file.attrs["report"]))
    return kind.from_arrays(arrays, **problem, status=status, finished=finished, **decisive, report=report)


def _read_rows(dataset, finished, rows):
    """The finished rows, followed by infinity."""
    values = np.full((rows, *dataset.shape[1:]), np.inf)
    values[:finished] = dataset
    return values


def _read_triangle(dataset, finished, rows):
    """Lower triangle of the finished rows, as the head of zeros."""
    stored = dataset.shape[-1]
    outputs, rest = divmod(stored, max(finished, 1))
    if rest or dataset.shape[-2] != stored:
        raise ValueError(f"{dataset.name} has shape {dataset.shape} for {finished} rows")
    values = np.zeros((*dataset.shape[:-2], rows * outputs, rows * outputs))
    for start, stop in _slabs(0, stored):
        part = np.s_[..., start:stop, :stop]
        dataset.read_direct(values, part, part)
    return values


def _read_all(dataset, finished, rows):
    return dataset[:]


_READERS = {"rows": _read_rows, "growing": _read_rows, "triangle": _read_triangle, "fixed": _read_all, "filled": _read_all}


def _read_ensemble(file):
    problem, decisive = _read_spec(file)
    kind = _ENSEMBLES[type(problem["network"])]
    arrays = {name: file[_name_in(file, name)][:] for name in kind.stored if _name_in(file, name) in file}
    return kind(**problem, **decisive, **arrays, **_decoded(json.loads(file.attrs["report"])))


@contextlib.contextmanager
def _opened(path):
    """The open HDF5 file; whatever goes wrong with it is a StorageError."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str or os.PathLike; got {path!r}")
    if not os.path.exists(path):
        raise StorageError(f"{path} does not exist")
    if not h5py.is_hdf5(path):
        raise StorageError(f"{path} is not an HDF5 file, or was cut off or overwritten at its beginning")
    try:
        with h5py.File(path) as file:
            yield file
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or solve again") from error


# ---- the only writer


@contextlib.contextmanager
def _claimed(path, kind):
    """Hold the only right to write a file of this kind; yields its absolute path."""
    try:
        path = Path(path).resolve()
    except TypeError as error:
        raise TypeError(f"the file to write must be a path (str or os.PathLike); got {path!r}") from error
    with locked(path):
        if path.exists() and (path.is_dir() or path.stat().st_size > 0):
            _check_replaceable(path, kind)
        yield path


def _check_replaceable(path, kind):
    try:
        with _opened(path) as file:
            found = file.attrs.get("format")
    except StorageError:
        found = None
    if found != kind:
        raise StorageError(f"{path} exists and is not a {kind} file: it is left as it is; choose another name, or remove it")
    if not os.access(path, os.W_OK):
        raise StorageError(f"{path} is read-only; choose another name, or make it writable")
