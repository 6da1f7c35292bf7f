"""Dynamical mean field theory of wide and deep networks: state a problem, solve its limit, check it, store it, draw it."""

import importlib
import sys
import types

from . import _shadow

__version__ = "0.1.0"

for _name in ("solvers", "derivations"):
    _shadow.check(_name)

_exports = {
    "DeepLinear": "networks",
    "DeepLinearResNet": "networks",
    "ShallowNet": "networks",
    "DeepNet": "networks",
    "MLP": "networks",
    "Activation": "activations",
    "GaussianData": "data",
    "StructuredData": "data",
    "Dataset": "data",
    "GradientDescent": "training",
    "OnlineSGD": "training",
    "MinibatchSGD": "training",
    "GradientFlow": "training",
    "Problem": "problem",
    "solve": "solve",
    "march": "solve",
    "resume": "solve",
    "memory_estimate": "solve",
    "Trajectory": "trajectory",
    "Status": "trajectory",
    "load": "storage",
    "simulate": "simulate",
    "Ensemble": "ensemble",
    "max_stable_learning_rate": "learning_rates",
    "optimal_learning_rate": "learning_rates",
    "compare": "compare",
    "Verdict": "compare",
    "FunctionVerdict": "compare",
    "width_exponents": "width_exponents",
    "fit_exponent": "fit_exponent",
    "ExponentFit": "fit_exponent",
    "scaling_exponents": "scaling_exponents",
    "ScalingExponents": "scaling_exponents",
    "coordinate_check": "coordinate_check",
    "CoordinateCheck": "coordinate_check",
    "parameterization": "parameterizations",
    "ABC": "parameterizations",
    "about": "about",
    "SolverError": "errors",
    "StorageError": "errors",
    "Interrupted": "errors",
    "StorageWarning": "errors",
    "EdgeOfStabilityWarning": "errors",
    "RestartWarning": "errors",
    "DepthWarning": "errors",
    "ScaleWarning": "errors",
}
_modules = ("datasets", "limits", "plot", "figures")


def __getattr__(name):
    if name in _exports:
        value = getattr(importlib.import_module(f".{_exports[name]}", __name__), name)
    elif name in _modules:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'dmft' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*_exports, *_modules])


class _Package(types.ModuleType):
    """Keeps ``dmft.solve`` the function: importing the submodule of the same name would put the module in its place.

    Pickled by its name, as functions are that mention it and are sent to other processes.
    """

    def __setattr__(self, name, value):
        if name in _exports and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __reduce__(self):
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
