"""Finds out whether a foreign module hides one of the top-level packages that dmft brings along."""

import importlib.util
import os
import sys


def check(name):
    """Raise ImportError, naming the file, unless ``import name`` gives the package that lies beside dmft."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = _location(name)
    if found is None:
        raise ImportError(f"the package {name!r}, a part of dmft, is missing from {home}: install dmft again")
    if os.path.realpath(os.path.dirname(found)) != os.path.realpath(os.path.join(home, name)):
        raise ImportError(
            f"{found} hides the package {name!r} of dmft, which lies in {home}: "
            "rename that file or folder, or start Python where it is not on the module search path"
        )


def _location(name):
    """File that ``import name`` has run or would run; for a folder without __init__.py the folder; None if there is nothing."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or repr(sys.modules[name])
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    return spec.origin or os.path.join(list(spec.submodule_search_locations)[0], "")
