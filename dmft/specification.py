"""What all specifications (network, data, training) share: equality, JSON form, and the registry that reads it back."""

import dataclasses
import hashlib
import importlib
import json
import math
from fractions import Fraction

import numpy as np

from . import checks
from .result import read_only

_registry = {}
#: Modules of specifications that are too slow to import before one of them is built.
_LAZY = {"ABC": "parameterizations"}


def encode(value):
    """JSON-able form of a specification, a number, text, or arrays and sequences of them; infinity is written ``"inf"``."""
    if isinstance(value, Specification):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return encode(value.tolist())
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return str(value) if isinstance(value, Fraction) else value


def _decode(value):
    if isinstance(value, dict):
        return from_dict(value)
    if isinstance(value, list):
        return [_decode(v) for v in value]
    return math.inf if value == "inf" else value


def brief(value):
    """`repr` of a field, short for large arrays."""
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"<array {value.shape}>"
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))})"
    if isinstance(value, Fraction):
        return repr(str(value))
    return repr(value.tolist()) if isinstance(value, np.ndarray) else repr(value)


class Specification:
    """Base of the frozen dataclasses that state a problem. Two are equal when their JSON forms are equal."""

    def __init_subclass__(cls):
        _registry[cls.__name__] = cls

    def to_dict(self):
        """JSON-able dictionary: the class name under ``"type"`` and every field; infinity is written ``"inf"``."""
        return {"type": type(self).__name__} | {f.name: encode(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def __repr__(self):
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        stated = [f"{name}={brief(value)}" for name, value in fields if value is not None]
        return f"{type(self).__name__}({', '.join(stated)})"

    def __eq__(self, other):
        return isinstance(other, Specification) and self.to_dict() == other.to_dict()

    def __setstate__(self, state):
        self.__dict__.update(read_only(state))

    def __hash__(self):
        return hash(canonical_json(self.to_dict()))


def from_dict(dictionary):
    """Rebuild a specification from `Specification.to_dict`.

    Raises
    ------
    ValueError
        If ``"type"`` is missing or unknown, or a field does not exist; the message lists the valid names.
    """
    if not isinstance(dictionary, dict):
        raise TypeError(f"dictionary must be one, with the name of a class under 'type'; got {checks.shown(dictionary)}")
    fields = dict(dictionary)
    kind = fields.pop("type", None)
    if isinstance(kind, str) and kind in _LAZY:
        importlib.import_module(f".{_LAZY[kind]}", __package__)
    if not isinstance(kind, str) or kind not in _registry:
        raise ValueError(f"type must be one of {', '.join(sorted(_registry))}; got {checks.shown(kind)}")
    cls = _registry[kind]
    valid = [f.name for f in dataclasses.fields(cls)]
    unknown = sorted(map(str, set(fields) - set(valid)))
    if unknown:
        raise ValueError(f"{kind} has no field {unknown[0]!r}; valid fields are {', '.join(valid)}")
    missing = [f.name for f in dataclasses.fields(cls) if f.name not in fields and f.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{kind} needs {', '.join(missing)}; its fields are {', '.join(valid)}")
    return cls(**{name: _decode(value) for name, value in fields.items()})


def canonical_json(dictionary):
    """JSON text with sorted keys and no free choices, so that equal problems have equal text."""
    return json.dumps(dictionary, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(dictionary):
    """SHA-256 of `canonical_json`, in hex."""
    return hashlib.sha256(canonical_json(dictionary).encode()).hexdigest()


def check_type(name, value, classes):
    """Raise TypeError naming the argument unless `value` is an instance of one of `classes`."""
    if not isinstance(value, tuple(classes)):
        allowed = " or ".join(c.__name__ for c in classes)
        article = "an" if allowed[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {allowed}; got {type(value).__name__}")
