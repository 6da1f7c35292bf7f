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
        coordinates, variables = self._coordinates(), self._variables()
        named = {name: (tuple(map(identifier, dimensions)), array) for name, (dimensions, array) in variables.items()}
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
        variables = self._variables()
        variables |= {name: (dimensions, array) for name, dimensions in self.parts.items() if (array := getattr(self, name)) is not None}
        for i, name in enumerate(names):
            checks.choice(f"names[{i}]", name, tuple(variables))
        chosen = names or [name for name in variables if name.endswith("_loss")]
        if not chosen:
            raise ValueError(f"names must be given, as this result has no losses: of {', '.join(map(repr, variables))}")
        dimensions = {name: tuple(map(identifier, variables[name][0][: variables[name][1].ndim])) for name in chosen}
        if len(set(dimensions.values())) > 1:
            stated = "; ".join(f"{name!r} has ({', '.join(own)})" for name, own in dimensions.items())
            raise ValueError(f"names must be of arrays with the same dimensions; {stated}")
        columns, (own, *_) = {name: variables[name][1] for name in chosen}, dimensions.values()
        coordinates, pandas = self._coordinates(), _library("pandas")
        levels = [_coordinate(coordinates, dimension, size) for dimension, size in zip(own, columns[chosen[0]].shape)]
        index = pandas.MultiIndex.from_product(levels, names=own) if len(own) > 1 else pandas.Index(levels[0], name=own[0])
        return pandas.DataFrame({name: np.ravel(array) for name, array in columns.items()}, index=index)

    def _variables(self):
        """Arrays with the names of their dimensions, by name."""
        return {name: (self.labels(name), array) for name, array in self.arrays().items()}

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
