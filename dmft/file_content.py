"""What stands in the HDF5 files of `dmft.storage`: how results become attributes and datasets, and how these become results again."""

import hashlib
import json
import math
import os
from datetime import datetime, timezone
from typing import NamedTuple

import h5py
import numpy as np

from . import activations, data, training  # noqa: F401  (register the specifications that `from_dict` rebuilds)
from .about import about
from .ensemble import FunctionEnsemble, KernelEnsemble, LinearEnsemble
from .errors import StorageError
from .function_trajectory import FunctionTrajectory
from .kernel_trajectory import KernelTrajectory
from .linear_trajectory import LinearTrajectory
from .networks import MLP, DeepLinear, DeepLinearResNet, DeepNet, ShallowNet
from .specification import canonical_json, from_dict
from .trajectory import Status

SCHEMA = 2
TRAJECTORY, ENSEMBLE = "dmft-trajectory", "dmft-ensemble"
_PROBLEM = ("network", "data", "training")
_TRAJECTORIES = dict.fromkeys((DeepLinear, DeepLinearResNet), LinearTrajectory)
_TRAJECTORIES |= {ShallowNet: FunctionTrajectory, DeepNet: FunctionTrajectory, MLP: KernelTrajectory}
_ENSEMBLES = dict.fromkeys((DeepLinear, DeepLinearResNet), LinearEnsemble)
_ENSEMBLES |= {ShallowNet: FunctionEnsemble, DeepNet: FunctionEnsemble, MLP: KernelEnsemble}
_ATTRIBUTES = ("created", "environment", "finished", "format", "report", "schema", "spec", "spec_sha256", "status")
_CHECKSUM = "content_sha256"
_CHUNK = (64, 128)
_CHUNK_NUMBERS, _LARGE_CHUNK_NUMBERS = 1024, 2**15
_FILTERS = {"compression": "lzf", "shuffle": True, "fletcher32": True}
_NAME_WIDTH, _VALUE_WIDTH = 33, 400
#: Names of datasets of networks on a data set in schema 1, and since.
_RENAMED_SINCE_1 = {
    "loss": "train_loss",
    "loss_error": "train_loss_error",
    "tangent_kernel": "tangent_grams",
    "tangent_kernel_error": "tangent_gram_errors",
}
_DATASETS = {"times", *_RENAMED_SINCE_1}.union(*(kind.stored for kind in (*_TRAJECTORIES.values(), *_ENSEMBLES.values())))


# ---- what is stored


def trajectory_attributes(trajectory):
    """Root attributes of the file of a trajectory; StorageError, naming it, if a value cannot be stored."""
    spec = _spec(trajectory, method=trajectory.method, options=trajectory.options)
    common = _common_attributes(TRAJECTORY, spec, trajectory.report)
    return common | {"status": trajectory.status.value, "finished": trajectory.finished}


def ensemble_attributes(ensemble):
    """The same for an ensemble."""
    return _common_attributes(ENSEMBLE, _spec(ensemble, **ensemble.decisive()), {"elapsed": ensemble.elapsed})


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


def write_trajectory(file, attributes, trajectory, rows):
    """Bring an open file that holds the first `rows` rows, or nothing if 0, to the finished rows of a trajectory."""
    if rows == 0:
        _create_datasets(file, trajectory)
    _append(file, trajectory, rows)
    _set_attributes(file, attributes)


def write_ensemble(file, attributes, ensemble):
    """Fill an empty open file."""
    _add_dataset(file, "times", ensemble.times, ("time",), "step; entries are before that step")
    for name, array in ensemble.arrays().items():
        _add_dataset(file, name, array, ensemble.stored[name].dimensions, ensemble.stored[name].description)
    _set_attributes(file, attributes)


def _set_attributes(file, attributes):
    """Set what differs, as HDF5 does not reuse the space of replaced text, and the checksum of all content."""
    for name, value in attributes.items():
        if file.attrs.get(name) != value:
            file.attrs[name] = value
    if "created" not in file.attrs:
        file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    file.attrs.modify(_CHECKSUM, np.bytes_(_content_sha256(file)))


def _content_sha256(file):
    """Checksum of the known attributes and datasets with the names of their dimensions; of numbers, by the checksum of each chunk."""
    digest = hashlib.sha256()

    def add(*values):
        digest.update(f"{json.dumps(values)}\n".encode())

    for name in _ATTRIBUTES:
        if name in file.attrs:
            add(name, plain(file.attrs[name]))
    for name, dataset in _datasets(file).items():
        labels = [dimension.label for dimension in dataset.dims]
        add(name, dataset.dtype.str, dataset.shape, labels, dataset.attrs["description"])
        offsets = []
        if dataset.chunks is not None:
            dataset.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
        for offset in sorted(offsets):
            _, stored = dataset.id.read_direct_chunk(offset)
            add(offset, stored[-4:].hex())
    return digest.hexdigest()


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
        )


def _add_dataset(file, name, values, labels, description, **growth):
    if values.size:
        growth = {"chunks": _even_chunks(values.shape)}
    dataset = file.create_dataset(name, data=values, **growth, **(_FILTERS if growth else {}))
    dataset.attrs["description"] = description
    for dimension, label in zip(dataset.dims, labels):
        dimension.label = label


def _even_chunks(shape):
    """Chunks of an array that does not grow: whole last axes, the first of them in equal parts."""
    chunks, numbers = [], 1
    for size in reversed(shape):
        parts = math.ceil(size / max(1, _LARGE_CHUNK_NUMBERS // numbers))
        chunks.insert(0, math.ceil(size / parts))
        numbers *= chunks[0]
    return tuple(chunks)


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


def _slabs(first, last):
    """Row ranges of whole chunks."""
    height = _CHUNK[0]
    for start in range(first - first % height, last, height):
        yield max(start, first), min(start + height, last)


def trajectory_space(trajectory, rows, attributes):
    """Upper bound of the bytes that `write_trajectory` takes: chunks are counted whole and uncompressed."""
    height, width = _CHUNK
    numbers = 0
    for name, array in trajectory.arrays().items():
        if trajectory.stored[name].layout == "triangle":
            outputs = trajectory.network.outputs
            slabs = _slabs(rows * outputs, trajectory.finished * outputs)
            numbers += math.prod(array.shape[:-2]) * sum(height * (stop + width) for _, stop in slabs)
        elif trajectory.stored[name].layout == "growing":
            numbers += (trajectory.finished - rows) * math.prod(array.shape[1:-1]) * (array.shape[-1] + _CHUNK[0])
        elif trajectory.stored[name].layout in ("fixed", "filled"):
            numbers += array.size + _CHUNK_NUMBERS
        else:
            numbers += array[rows : trajectory.finished].size + 2 * _CHUNK_NUMBERS
    return _space(attributes, 8 * numbers)


def ensemble_space(ensemble, attributes):
    """The same for `write_ensemble`."""
    return _space(attributes, 8 * len(ensemble.times) + sum(array.nbytes for array in ensemble.arrays().values()))


def _space(attributes, array_bytes):
    """Upper bound of the bytes that a write takes: its arrays, the index of their chunks, text, and what every file has."""
    return 2**18 + 2 * sum(len(str(value)) for value in attributes.values()) + array_bytes + array_bytes // 64


# ---- what is read


class Content(NamedTuple):
    """What a file holds, in plain values: attributes, and arrays as they are stored."""

    attributes: dict
    arrays: dict


def read(file, sealed):
    """The `Content` of an open file; what this version does not know is left out. StorageError if it is not to be read."""
    attributes = {name: plain(file.attrs[name]) for name in _ATTRIBUTES if name in file.attrs}
    reason = foreign(attributes) or (None if sealed else changed(file))
    if reason:
        raise StorageError(f"{file.filename} cannot be read: {reason}")
    arrays = {name: dataset[()] for name, dataset in _datasets(file).items()}
    return Content(attributes, _from_schema_1(arrays) if attributes["schema"] == 1 else arrays)


def _datasets(file):
    """Datasets that this or an earlier version knows, by name."""
    return {name: file[name] for name in sorted(_DATASETS) if name in file}


def _from_schema_1(arrays):
    """Schema 1 had its own names of what networks on a data set have in common with the others; checksums there were none."""
    return {_RENAMED_SINCE_1.get(name, name): array for name, array in arrays.items()}


def foreign(attributes):
    """Why this version cannot read content of these attributes, and what to do, or None."""
    kind, schema = attributes.get("format"), attributes.get("schema")
    if kind not in (TRAJECTORY, ENSEMBLE):
        return f"it is not a file of dmft (its format is {kind!r})"
    if schema > SCHEMA:
        return f"written by schema {schema}, this version reads up to {SCHEMA}; upgrade dmft"
    return None


def changed(file):
    """Why the content of an open file of ours is not what was written, and what to do, or None; schema 1 has no checksum of everything."""
    if file.attrs["schema"] > 1 and file.attrs[_CHECKSUM].decode() != _content_sha256(file):
        return "its content was changed after dmft wrote it (a checksum differs); restore it from a copy, or solve again"
    return None


def unknown(attributes):
    """Why the problem that the attributes state cannot be stated, and what to do, or None."""
    if hashlib.sha256(attributes["spec"].encode()).hexdigest() != attributes["spec_sha256"]:
        return "its problem was edited after it was written (spec_sha256 differs); restore the file, or solve the edited problem anew"
    try:
        _read_spec(attributes)
    except (ValueError, TypeError) as error:
        return f"it states a problem that this version does not know ({error}); upgrade dmft"
    return None


def _read_spec(attributes):
    """Network, data and training by name, and all the rest that decided the result."""
    spec = json.loads(attributes["spec"])
    return {name: from_dict(spec.pop(name)) for name in _PROBLEM}, _decoded(spec)


def rebuild(content):
    """The trajectory or the ensemble; StorageError, without the name of the file, if this version does not know its problem."""
    attributes, arrays = content
    reason = unknown(attributes)
    if reason:
        raise StorageError(reason)
    return (_trajectory if attributes["format"] == TRAJECTORY else _ensemble)(attributes, arrays)


def _trajectory(attributes, arrays):
    problem, decisive = _read_spec(attributes)
    status, finished = Status(attributes["status"]), attributes["finished"]
    rows = finished if status is Status.INTERRUPTED else problem["training"].rows
    kind = _TRAJECTORIES[type(problem["network"])]
    arrays = {name: _LONGER[kind.stored[name].layout](array, finished, rows) for name, array in arrays.items() if name in kind.stored}
    report = _decoded(json.loads(attributes["report"]))
    return kind.from_arrays(arrays, **problem, status=status, finished=finished, **decisive, report=report)


def _longer_rows(array, finished, rows):
    """The finished rows, followed by infinity."""
    if len(array) != finished or rows < finished:
        raise ValueError(f"{len(array)} rows for {finished} of {rows}")
    return array if finished == rows else np.concatenate([array, np.full((rows - finished, *array.shape[1:]), np.inf)])


def _longer_triangle(array, finished, rows):
    """Lower triangle of the finished rows, as the head of zeros."""
    outputs, rest = divmod(array.shape[-1], max(finished, 1))
    if rest or array.shape[-2] != array.shape[-1] or rows < finished:
        raise ValueError(f"a triangle of shape {array.shape} for {finished} of {rows} rows")
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + 2 * [(0, (rows - finished) * outputs)]) if finished < rows else array


def _as_it_is(array, finished, rows):
    return array


_LONGER = {"rows": _longer_rows, "growing": _longer_rows, "triangle": _longer_triangle, "fixed": _as_it_is, "filled": _as_it_is}


def _ensemble(attributes, arrays):
    problem, decisive = _read_spec(attributes)
    kind = _ENSEMBLES[type(problem["network"])]
    arrays = {name: array for name, array in arrays.items() if name in kind.stored}
    return kind(**problem, **decisive, **arrays, **_decoded(json.loads(attributes["report"])))


def plain(value):
    """A value of an attribute as a Python number or text."""
    return value.item() if isinstance(value, np.generic) else value


def describe(file, sealed):
    """What an open file is, whether this version reads it, and what it holds, in lines."""
    attributes = {name: plain(value) for name, value in file.attrs.items()}
    reason = foreign(attributes) or (None if sealed else changed(file)) or unknown(attributes)
    attributes.pop(_CHECKSUM, None)
    lines = [f"{attributes.pop('format', 'no file of dmft')}, schema {attributes.pop('schema', 'unknown')}"]
    lines.append(_line("readable", f"no: {reason}" if reason else "yes"))
    lines.append(_line("as it was written", "yes" if sealed else "not known: no seal, or a broken one"))
    for name in () if reason else ("spec", "environment", "report"):
        attributes |= {f"{name}.{key}": value for key, value in json.loads(attributes.pop(name)).items()}
    lines += [_line(name, value) for name, value in sorted(attributes.items())]
    lines.append(_line("size", f"{os.path.getsize(file.filename) / 2**20:.2f} MiB"))
    file.visititems(lambda name, node: lines.append(_line(name, _shape(node))) if isinstance(node, h5py.Dataset) else None)
    return "\n".join(lines)


def _line(name, value):
    value = str(value)
    return f"  {name:{_NAME_WIDTH}}  {value if len(value) <= _VALUE_WIDTH else value[:_VALUE_WIDTH] + ' ...'}"


def _shape(dataset):
    dimensions = ", ".join(f"{dimension.label}: {size}" for dimension, size in zip(dataset.dims, dataset.shape))
    return f"({dimensions})  {dataset.attrs.get('description', '')}"
