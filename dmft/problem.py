"""Problems written as TOML files, as the command line reads them."""

import tomllib
from dataclasses import dataclass

from . import datasets, networks, training  # noqa: F401  (register the specifications that `from_dict` builds)
from .data import StructuredData
from .specification import Specification, from_dict

_DIGITS = ("classes", "sample_ratio")
_OPTIONS = {"solve": ("method", "out"), "simulate": ("dim", "seeds", "rng", "workers", "images", "dims")}


@dataclass(frozen=True)
class Problem:
    """Network, data and training, and the options of `dmft.solve`, `dmft.simulate` and `dmft.compare` that the file states.

    Attributes
    ----------
    network, data, training : Specification
    solve, simulate, compare : dict
        Keyword arguments.
    """

    network: Specification
    data: Specification
    training: Specification
    solve: dict
    simulate: dict
    compare: dict


def read(path):
    """The `Problem` in a TOML file.

    The tables [network], [data] and [training] hold ``type = "<class of dmft>"`` and the arguments of that class; infinity is written
    ``inf``. The optional tables [solve] (method, out) and [simulate] (dim, seeds, rng, workers, dims) hold arguments of the functions;
    ``dims`` goes to `dmft.compare`. ``type = "digits"`` with ``classes`` and ``sample_ratio`` under [data] stands for Gaussian data with
    the covariance and the linear target of the digits that ship with dmft; then ``images = true`` under [simulate] trains on the images
    themselves.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is not TOML, or a table or key is missing, unknown or out of range; the message names it.
    """
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    _check_names("table", tables, ("network", "data", "training", *_OPTIONS))
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{name} must be a table, [{name}]; got {table!r}")
    for name in ("network", "data", "training"):
        if name not in tables:
            raise ValueError(f"table [{name}] is missing; a problem needs [network], [data] and [training]")
    for name, keys in _OPTIONS.items():
        _check_names(f"key under [{name}]", tables.get(name, {}), keys)

    data, images = _read_data(tables["data"])
    simulate = dict(tables.get("simulate", {}))
    compare = {"dims": simulate.pop("dims")} if "dims" in simulate else {}
    if simulate.pop("images", False):
        if images is None:
            raise ValueError('images = true under [simulate] needs type = "digits" under [data]')
        simulate["inputs"] = images
    return Problem(
        network=from_dict(tables["network"]),
        data=data,
        training=from_dict(tables["training"]),
        solve=tables.get("solve", {}),
        simulate=simulate,
        compare=compare,
    )


def _read_data(table):
    """Data for the theory, and the data set behind it if there is one."""
    if table.get("type") != "digits":
        return from_dict(table), None
    arguments = {key: value for key, value in table.items() if key != "type"}
    _check_names('key of data of type "digits"', arguments, _DIGITS)
    ratio = {"sample_ratio": arguments.pop("sample_ratio")} if "sample_ratio" in arguments else {}
    images = datasets.digits(**arguments)
    return StructuredData.from_dataset(images.x, images.y, **ratio), images


def _check_names(kind, given, valid):
    for name in given:
        if name not in valid:
            raise ValueError(f"unknown {kind}: {name}; valid are {', '.join(valid)}")
