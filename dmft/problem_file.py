"""Problems written as TOML files, as the command line reads them."""

import dataclasses
import inspect
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import checks, data_files, datasets, training  # noqa: F401  (register the specifications that `from_dict` builds)
from .coordinate_check import coordinate_check
from .data import Dataset, StructuredData
from .networks import MLP, DeepNet, LinearNetwork
from .problem import Problem, replaced
from .simulate import option_names as simulate_options
from .solve import option_names as solve_options
from .specification import from_dict

_TABLES = ("network", "data", "training", "solve", "simulate", "coordinate_check")
#: Euclidean norm of the images for an `MLP`, which divides its inputs by the root of their dimension.
_MLP_NORM = 8.0


@dataclass(frozen=True)
class ProblemFile:
    """What a file states.

    Attributes
    ----------
    problem : Problem
    out : str or None
        File for the trajectory.
    simulate, compare, coordinate_check : dict
        Keyword arguments of the functions of these names.
    """

    problem: Problem
    out: str | None
    simulate: dict
    compare: dict
    coordinate_check: dict


def read(path, changes=None):
    """The `ProblemFile` at a path, in TOML.

    The tables [network], [data] and [training] hold ``type = "<class of dmft>"`` and the arguments of that class; infinity is written
    ``inf``, an exact exponent ``"-1/2"``, the exponents of a `DeepNet` as a table ``parameterization = { type = "ABC", a = [...], ... }``.
    The optional tables [solve], [simulate] and [coordinate_check] hold arguments of the functions: method, out and the options of the
    network's theory; seeds, rng, workers and the options of the network's simulation, for deep linear networks also ``dims`` for
    `dmft.compare`; widths, seeds, steps and the others.

    ``type = "digits"`` under [data] stands for the digits that ship with dmft. For a deep linear network they are, with ``classes`` and
    ``sample_ratio``, Gaussian data with their covariance and linear target; then ``images = true`` under [simulate] trains on the images
    themselves. Otherwise they are images, with the arguments of `dmft.datasets.binary_digits`, or of `dmft.datasets.one_hot_digits` for
    a network with several outputs; for an `MLP` of norm 8 by default.

    ``type = "Dataset"`` takes one's own data: ``file = "own.npz"`` or ``"own.csv"`` with the arguments of `dmft.datasets.read`, or x, y,
    test_x and test_y as arrays or names of ``.npy`` files. Names are relative to the problem's file. For a deep linear network its training
    samples are described as digits are, with ``sample_ratio``, and ``images = true`` trains on them.

    Parameters
    ----------
    path : path
    changes : dict of {str: object}, optional
        Entries of the tables to be replaced or added before they are read, by dotted names such as "training.learning_rate".

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is not TOML, or a table or key is missing, unknown or out of range; the message names it.
    """
    tables = replaced(_tables(path), changes or {})
    _check_names("table", tables, _TABLES)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{name} must be a table, [{name}]; got {checks.shown(table)}")
    for name in ("network", "data", "training"):
        if name not in tables:
            raise ValueError(f"table [{name}] is missing; a problem needs [network], [data] and [training]")
    network = from_dict(tables["network"])
    keys = _keys(network)
    for name, valid in keys.items():
        _check_names(f"key under [{name}]", tables.get(name, {}), valid)

    data, images = _read_data(tables["data"], network, Path(path).parent)
    simulate = dict(tables.get("simulate", {}))
    compare = {"dims": simulate.pop("dims")} if "dims" in simulate else {}
    if simulate.pop("images", False):
        if images is None:
            raise ValueError('images = true under [simulate] needs type = "digits" or "Dataset" under [data]')
        simulate["inputs"] = images
    solve = dict(tables.get("solve", {}))
    out = solve.pop("out", None)
    return ProblemFile(
        problem=Problem(network, data, from_dict(tables["training"]), **solve),
        out=out,
        simulate=simulate,
        compare=compare,
        coordinate_check=tables.get("coordinate_check", {}),
    )


def _tables(path):
    """What the file states, as its reader gives it."""
    with open(checks.path("path", path), "rb") as file:
        try:
            return tomllib.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"path must be that of a file in TOML; {path} is not: {' '.join(str(error).split())}") from error


def _keys(network):
    """Valid keys of the optional tables."""
    options = ["seeds", "rng", "workers", *simulate_options(network)]
    if isinstance(network, LinearNetwork):
        options[options.index("inputs")] = "images"
        options.append("dims")
    check = [name for name, parameter in inspect.signature(coordinate_check).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    check.remove("progress")
    return {
        "solve": ("method", "out", *solve_options(network)),
        "simulate": tuple(options),
        "coordinate_check": tuple(check) if isinstance(network, DeepNet) else (),
    }


def _read_data(table, network, folder):
    """Data for the theory, and the data set behind Gaussian data if there is one."""
    makers = {"digits": _digits, "Dataset": _own}
    if table.get("type") not in makers:
        return from_dict(table), None
    arguments = {key: value for key, value in table.items() if key != "type"}
    ratio = {"sample_ratio": arguments.pop("sample_ratio")} if isinstance(network, LinearNetwork) and "sample_ratio" in arguments else {}
    made = makers[table["type"]](arguments, network, folder)
    return (StructuredData.from_dataset(*made, **ratio), made) if isinstance(network, LinearNetwork) else (made, None)


def _digits(arguments, network, folder):
    if isinstance(network, LinearNetwork):
        make, further = datasets.digits, ("sample_ratio",)
    else:
        make, further = datasets.one_hot_digits if getattr(network, "outputs", 1) > 1 else datasets.binary_digits, ()
    _check_names('key of data of type "digits"', arguments, (*inspect.signature(make).parameters, *further))
    return make(**({"norm": _MLP_NORM} if isinstance(network, MLP) else {}) | arguments)


def _own(arguments, network, folder):
    """A data set in one file, or in arrays some of which are files."""
    if "file" not in arguments:
        _check_names('key of data of type "Dataset" without file', arguments, [field.name for field in dataclasses.fields(Dataset)])
        if not {"x", "y"} <= set(arguments):
            raise ValueError(f'data of type "Dataset" must have file, or x and y; got {", ".join(arguments) or "neither"}')
        files = {key: data_files.array(key, folder / value) for key, value in arguments.items() if isinstance(value, str)}
        return Dataset(**arguments | files)
    _check_names('key of data of type "Dataset" with file', arguments, inspect.signature(datasets.read).parameters)
    files = {key: folder / checks.text(key, arguments[key]) for key in ("file", "test_file") if key in arguments}
    return datasets.read(**arguments | files)


def _check_names(kind, given, valid):
    for name in given:
        if name not in valid:
            raise ValueError(f"unknown {kind}: {name}; valid are {', '.join(valid) or 'none'}")
