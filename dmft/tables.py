"""Results as labelled data sets (xarray) and as tables (pandas), both optional.

Dimensions are named as in files, as identifiers: words are joined by "_", and the second of two equal dimensions, primed in a file, ends
in "_2": "time" and "time_2", "followed_point_and_output". Layers are numbered from 1, times by step, all else from 0.
"""

import importlib
from typing import ClassVar

import numpy as np

from . import checks


class Tabular:
    """Base of results with named arrays, which have `arrays` and `labels`."""

    #: Names of the dimensions of parts of stored arrays that are attributes of their own.
    parts: ClassVar[dict[str, tuple[str, ...]]] = {}

    def to_xarray(self):
        """Labelled view as an `xarray.Dataset`.

        Dimensions are named as in files, as identifiers: "time" and "time_2" for two times, "followed_point" for "followed point".

        Raises
        ------
        ImportError
            Without the optional library xarray.
        """
        coordinates, named = self._coordinates(), {name: self._variable(name) for name in self._names()}
        known = {dimension: _coordinate(coordinates, dimension, size) for ds, a in named.values() for dimension, size in zip(ds, a.shape)}
        return _library("xarray").Dataset(named, known, self._attributes())

    def to_dataframe(self, *names):
        """Long table as a `pandas.DataFrame`: a row for each entry, with an index for each dimension, and a column for each array.

        Parameters
        ----------
        *names : str
            Arrays with the same dimensions, among those of `to_xarray` and attributes that are parts of them, such as "predictions";
            by default the losses. ``to_dataframe("predictions").unstack("sample")`` is the wide form, with a row for each time.

        Raises
        ------
        ImportError
            Without the optional library pandas.
        ValueError
            If an array does not exist, or if dimensions differ.
        """
        valid = (*self._names(), *self.parts)
        for i, name in enumerate(names):
            checks.choice(f"names[{i}]", name, valid)
        chosen = names or [name for name in valid if name.endswith("_loss")]
        if not chosen:
            raise ValueError(f"names must be given, as this result has no losses: of {', '.join(map(repr, valid))}")
        variables = {name: self._variable(name) for name in chosen}
        if len({dimensions for dimensions, _ in variables.values()}) > 1:
            stated = "; ".join(f"{name!r} has ({', '.join(dimensions)})" for name, (dimensions, _) in variables.items())
            raise ValueError(f"names must be of arrays with the same dimensions; {stated}")
        (own, first), coordinates, pandas = variables[chosen[0]], self._coordinates(), _library("pandas")
        levels = [_coordinate(coordinates, dimension, size) for dimension, size in zip(own, first.shape)]
        index = pandas.MultiIndex.from_product(levels, names=own) if len(own) > 1 else pandas.Index(levels[0], name=own[0])
        return pandas.DataFrame({name: np.ravel(array) for name, (_, array) in variables.items()}, index=index)

    def _names(self):
        """Names of the arrays of the labelled view."""
        return tuple(self.arrays())

    def _variable(self, name):
        """An array with the names of its dimensions, as identifiers."""
        array = getattr(self, name)
        dimensions = self.parts[name][: array.ndim] if name in self.parts else self.labels(name)
        return tuple(map(identifier, dimensions)), array

    def _coordinates(self):
        """Values along dimensions that are not just counted."""
        return {"time": self.times}

    def _attributes(self):
        """What goes with a data set, numbers and text."""
        return {}


def identifier(dimension):
    """The name of a dimension as an identifier."""
    return dimension.replace(" ", "_").replace("'", "_2")


def _coordinate(coordinates, dimension, size):
    first = dimension.removesuffix("_2")
    return coordinates[first] if first in coordinates else np.arange(1, size + 1) if first == "layer" else np.arange(size)


def _library(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: install it, or dmft with its extra of this name, dmft[{name}]") from error
