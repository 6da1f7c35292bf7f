"""Problems written as TOML files, as the command line reads them."""

import tomllib
from dataclasses import dataclass

from . import datasets, networks, training  # noqa: F401  (register the specifications that `from_dict` builds)
from .data import StructuredData
from .networks import MLP, ShallowNet
from .simulations import mlp as finite_mlp
from .specification import Specification, from_dict
from .theories import mlp as kernel_evolution

_TABLES = ("network", "data", "training", "solve", "simulate")
_OF_LINEAR = {
    "solve": ("method", "out"),
    "simulate": ("dim", "seeds", "rng", "workers", "images", "dims"),
    "digits": ("classes", "sample_ratio"),
}
_OF_SHALLOW = {
    "solve": ("method", "out", "loss", "width", "samples", "rng", "track"),
    "simulate": ("width", "seeds", "rng", "workers", "loss", "track", "allow_unstable"),
    "digits": ("classes", "samples", "test_samples", "flipped", "seed"),
}
_OF_MLP = {
    "solve": tuple(dict.fromkeys(("method", "out", *(option for options in kernel_evolution.METHODS.values() for option in options)))),
    "simulate": ("seeds", "rng", "workers", *finite_mlp.OPTIONS),
    "digits": (*_OF_SHALLOW["digits"], "norm"),
}
#: Euclidean norm of the images for an `MLP`, which divides its inputs by the root of their dimension.
_MLP_NORM = 8.0


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
    ``inf``, an exact exponent ``"-1/2"``. The optional tables [solve] and [simulate] hold arguments of the functions: method and out;
    dim, seeds, rng and workers, and ``dims`` for `dmft.compare`. For a `ShallowNet` they are method, out, loss, width, samples, rng and
    track; width, seeds, rng, workers, loss, track and allow_unstable. For an `MLP` they are method, out and the options of its methods
    (`dmft.theories.mlp.check`); seeds, rng, workers and the options of its networks (`dmft.simulate`).

    ``type = "digits"`` under [data] stands for the digits that ship with dmft. For a `ShallowNet` or an `MLP` they are two classes of
    images, with the arguments of `dmft.datasets.binary_digits`, for an `MLP` of norm 8 by default. Otherwise they are, with ``classes`` and ``sample_ratio``, Gaussian data with their
    covariance and linear target; then ``images = true`` under [simulate] trains on the images themselves.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is not TOML, or a table or key is missing, unknown or out of range; the message names it.
    """
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    _check_names("table", tables, _TABLES)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{name} must be a table, [{name}]; got {table!r}")
    for name in ("network", "data", "training"):
        if name not in tables:
            raise ValueError(f"table [{name}] is missing; a problem needs [network], [data] and [training]")
    network = from_dict(tables["network"])
    keys = {ShallowNet: _OF_SHALLOW, MLP: _OF_MLP}.get(type(network), _OF_LINEAR)
    for name in ("solve", "simulate"):
        _check_names(f"key under [{name}]", tables.get(name, {}), keys[name])

    data, images = _read_data(tables["data"], network, keys["digits"])
    simulate = dict(tables.get("simulate", {}))
    compare = {"dims": simulate.pop("dims")} if "dims" in simulate else {}
    if simulate.pop("images", False):
        if images is None:
            raise ValueError('images = true under [simulate] needs type = "digits" under [data]')
        simulate["inputs"] = images
    return Problem(
        network=network,
        data=data,
        training=from_dict(tables["training"]),
        solve=tables.get("solve", {}),
        simulate=simulate,
        compare=compare,
    )


def _read_data(table, network, keys):
    """Data for the theory, and the data set behind Gaussian data if there is one."""
    if table.get("type") != "digits":
        return from_dict(table), None
    arguments = {key: value for key, value in table.items() if key != "type"}
    _check_names('key of data of type "digits"', arguments, keys)
    if isinstance(network, MLP):
        arguments = {"norm": _MLP_NORM} | arguments
    if isinstance(network, (ShallowNet, MLP)):
        return datasets.binary_digits(**arguments), None
    ratio = {"sample_ratio": arguments.pop("sample_ratio")} if "sample_ratio" in arguments else {}
    images = datasets.digits(**arguments)
    return StructuredData.from_dataset(images.x, images.y, **ratio), images


def _check_names(kind, given, valid):
    for name in given:
        if name not in valid:
            raise ValueError(f"unknown {kind}: {name}; valid are {', '.join(valid)}")
