"""What all results share: printed forms, equality by value, and arrays that cannot be written to."""

from dataclasses import fields

import numpy as np

from derivations.printed import Printed


def read_only(value):
    """An array, or all arrays in a dictionary, as views that cannot be written to; anything else as it is."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    elif isinstance(value, dict):
        value = {name: read_only(entry) for name, entry in value.items()}
    return value


def same(first, second):
    """Whether two values are equal number for number; nan equals nan, and sequences and arrays of the same numbers are equal."""
    if first is second:
        return True
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    sequences = (list, tuple, np.ndarray)
    if not (isinstance(first, sequences) and isinstance(second, sequences)):
        return bool(first == second or (first != first and second != second))
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        first, second = np.asarray(first), np.asarray(second)
        return np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f")
    return len(first) == len(second) and all(map(same, first, second))


class Result(Printed):
    """Base of the dataclasses that functions of `dmft` return.

    Two are equal if they are of the same class and all fields that are compared are equal, number for number; how long they took is
    not. The hash is that of network and training, so that results can be members of sets and keys of dictionaries. Arrays cannot be
    written to, also after copies and pickles: take a copy of the array.
    """

    def __post_init__(self):
        for f in fields(self):
            if isinstance(value := getattr(self, f.name), (np.ndarray, dict)):
                object.__setattr__(self, f.name, read_only(value))

    def __setstate__(self, state):
        self.__dict__.update(read_only(state))

    def _compared(self):
        """What makes two results equal, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    def __eq__(self, other):
        return same(self._compared(), other._compared()) if type(self) is type(other) else NotImplemented

    def __hash__(self):
        return hash((type(self).__name__, getattr(self, "network", None), getattr(self, "training", None)))
