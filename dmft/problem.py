"""A stated problem as one value: what it takes, how its parts are replaced, and which theory speaks for it."""

import dataclasses
import importlib
from dataclasses import dataclass

import numpy as np

from . import checks
from .networks import MLP, DeepLinear, DeepLinearResNet, DeepNet, ShallowNet
from .result import read_only
from .specification import Specification, brief, canonical_json, check_type, encode, fingerprint

#: Modules of `dmft.theories`, imported when needed.
THEORIES = {DeepLinear: "deep_linear", DeepLinearResNet: "deep_linear", ShallowNet: "shallow", DeepNet: "deep", MLP: "mlp"}
#: Parts of a `Problem`.
_PARTS = ("network", "data", "training", "method", "options")
#: Arguments of `solve` that decide nothing of the result.
_OF_THE_CALL = ("progress", "out", "overwrite", "memory_limit")


def theory_of(network):
    """The module of `dmft.theories` for a network; TypeError lists the networks that there are."""
    check_type("network", network, tuple(THEORIES))
    return importlib.import_module(f".theories.{THEORIES[type(network)]}", __package__)


def checked_theory(network, data, training, method, options):
    """The theory of a network, after all checks that need no work: types, method and names of options."""
    theory = theory_of(network)
    checks.choice("method", method, tuple(theory.METHODS))
    checks.options(options, theory.METHODS[method], f"method {method!r} for a {type(network).__name__}")
    theory.check_types(data, training)
    return theory


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Problem:
    """Network, data and training as one value, with the options that decide the result of `solve`.

    `solve`, `march`, `simulate` and `memory_estimate` take it in place of network, data and training. Problems are equal, and have the
    same hash, if all that they state is equal.

    Parameters
    ----------
    network, data, training
        As in `solve`.
    method : str
    **options
        Those of the network's family and the method in `solve`. A generator for `rng` is advanced, and kept as the integer drawn from it.

    Attributes
    ----------
    network, data, training : Specification
    method : str
    options : dict
        The options that are stated; arrays cannot be written to.

    Raises
    ------
    ValueError, TypeError
        For an unknown method or option, or data and training of a kind that the network does not take; the message names it. What
        else the theory asks of a problem is checked by what uses it.

    Examples
    --------
    >>> problem = dmft.Problem(dmft.DeepLinear(depth=2), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20))
    >>> slower = problem.replaced({"training.learning_rate": 0.1, "network.width_ratio": 2.0})
    >>> slower
    Problem(DeepLinear(depth=2, width_ratio=2.0, richness=1.0, outputs=1, parameterization='mup'),
            GaussianData(sample_ratio=2.0, label_noise=0.0),
            GradientDescent(learning_rate=0.1, steps=20, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False))
    >>> bool(dmft.solve(slower, progress=False).test_loss[-1] < 1.0)
    True
    >>> slower == problem, slower.fingerprint[:8], slower.replaced({"method": "fixed-point", "options.window": 8}).options
    (False, '...', {'window': 8})
    """

    network: Specification
    data: Specification
    training: Specification
    method: str
    options: dict

    def __init__(self, network, data, training, method="causal", **options):
        for name in _OF_THE_CALL:
            if name in options:
                raise TypeError(f"{name} is no part of a problem; give it to dmft.solve(problem, {name}=...)")
        checked_theory(network, data, training, method, options)
        if "rng" in options:
            options["rng"] = checks.integer_seed("rng", options["rng"])
        for name, value in zip(_PARTS, (network, data, training, method, {name: _kept(name, value) for name, value in options.items()})):
            object.__setattr__(self, name, value)

    def replaced(self, changes):
        """The problem with parts replaced.

        Parameters
        ----------
        changes : dict of {str: object}
            New values by dotted names such as "training.learning_rate", "network.width_ratio", "data", "method" or "options.samples".
            All changes of one part are made at once, so that they may depend on each other.

        Returns
        -------
        Problem

        Raises
        ------
        ValueError, TypeError
            If a name leads nowhere, two of them overlap, or the new values are refused.
        """
        if not isinstance(changes, dict) or not all(isinstance(name, str) for name in changes):
            checks.fail("changes", changes, "a dict of new values by dotted names", TypeError)
        parts = replaced({name: getattr(self, name) for name in _PARTS}, changes)
        for name in parts:
            if name not in _PARTS:
                raise ValueError(f"{name} cannot be set; a problem has {', '.join(_PARTS)}")
        options = parts.pop("options")
        if not isinstance(options, dict):
            checks.fail("options", options, "a dict", TypeError)
        return Problem(**parts, **options)

    def to_dict(self):
        """JSON-able dictionary: `Specification.to_dict` of network, data and training, the method and the options."""
        stated = {name: getattr(self, name).to_dict() for name in _PARTS[:3]}
        return stated | {"method": self.method, "options": {name: encode(value) for name, value in self.options.items()}}

    @property
    def fingerprint(self):
        """SHA-256 of the canonical JSON of `to_dict`, in hex."""
        return fingerprint(self.to_dict())

    def __eq__(self, other):
        return self.to_dict() == other.to_dict() if isinstance(other, Problem) else NotImplemented

    def __hash__(self):
        return hash(canonical_json(self.to_dict()))

    def __setstate__(self, state):
        self.__dict__.update(read_only(state))

    def _arguments(self):
        method = [] if self.method == "causal" else [f"method={self.method!r}"]
        options = [f"{name}={brief(value)}" for name, value in self.options.items()]
        return [repr(self.network), repr(self.data), repr(self.training), *method, *options]

    def __repr__(self):
        return "Problem(" + ",\n        ".join(self._arguments()) + ")"


def _kept(name, value):
    """The value of an option as a problem keeps it."""
    if isinstance(value, np.ndarray):
        return read_only(value.copy())
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (list, tuple)):
        return tuple(_kept(name, entry) for entry in value)
    if value is not None and not isinstance(value, (str, bool, int, float)):
        checks.fail(name, value, "a number, text, array or sequence of them, so that a problem can be written down", TypeError)
    return value


def stated(network, data, training, method, options):
    """(network, data, training), method and options as a function has them: one by one, or network is a `Problem` with all of them.

    Options that are given beside a problem take the place of its own; another method takes its options along.
    """
    if not isinstance(network, Problem):
        return (network, data, training), "causal" if method is None else method, options
    if data is not None or training is not None:
        raise TypeError("data and training must be left out with a Problem, which holds them; its method replaced changes them")
    problem = network
    own = problem.options if method in (None, problem.method) else {}
    return (problem.network, problem.data, problem.training), method or problem.method, own | options


def replaced(stated, changes):
    """Tables or dataclasses with parts replaced; all parts of one dataclass at once, so that they may depend on each other.

    Parameters
    ----------
    stated : dict or dataclass
        Whose entries or fields are dicts and dataclasses in turn; it is left as it is. What a dict does not have is added.
    changes : dict of {str: object}
        New values by dotted names.

    Raises
    ------
    ValueError
        If a name leads nowhere, two of them overlap, or a dataclass refuses the values.
    """
    return _replaced(stated, {tuple(name.split(".")): value for name, value in changes.items()}, ())


def _replaced(stated, changes, above):
    is_table, inner = isinstance(stated, dict), {}
    if not (is_table or dataclasses.is_dataclass(stated)):
        raise ValueError(f"{'.'.join((*above, *next(iter(changes))))} cannot be set: {'.'.join(above)} is {stated!r}, which has no parts")
    for (first, *rest), value in changes.items():
        inner.setdefault(first, {})[tuple(rest)] = value
    fields = None if is_table else [field.name for field in dataclasses.fields(stated)]
    new = {}
    for first, parts in inner.items():
        name = ".".join((*above, first))
        if not first or () in parts and len(parts) > 1:
            raise ValueError(f"{name or 'a name'} must be set once, by a dotted name such as training.learning_rate")
        if fields is not None and first not in fields:
            raise ValueError(f"{name} cannot be set; {'.'.join(above) or 'a problem'} has {', '.join(fields)}")
        if () in parts:
            new[first] = parts[()]
        else:
            old = stated.get(first, {}) if is_table else getattr(stated, first)
            new[first] = _replaced(old, parts, (*above, first))
    return stated | new if is_table else dataclasses.replace(stated, **new)
