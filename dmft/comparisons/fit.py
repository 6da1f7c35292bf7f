"""Whether ensembles are simulations of the problem that a trajectory solves."""

from ..ensemble import Ensemble
from ..specification import check_type


def checked_ensembles(trajectory, ensemble):
    """The ensembles as a list; raise TypeError or ValueError unless all are of the trajectory's problem, with two seeds or more."""
    ensembles = list(ensemble) if isinstance(ensemble, (list, tuple)) else [ensemble]
    if not ensembles:
        raise ValueError("ensemble must be an Ensemble or a non-empty sequence of them; got an empty sequence")
    for each in ensembles:
        _check_fit(trajectory, each)
    return ensembles


def _check_fit(trajectory, ensemble):
    check_type("ensemble", ensemble, (Ensemble,))
    for name in ("network", "data", "training"):
        stated, simulated = getattr(trajectory, name), getattr(ensemble, name)
        if stated != simulated:
            differences = _differences(stated, simulated)
            raise ValueError(f"trajectory and ensemble must be of the same problem; their {name} differs: {differences}")
    if len(trajectory.times) != len(ensemble.times):
        raise ValueError(
            f"trajectory and ensemble must have the same number of steps; got {len(trajectory.times) - 1} "
            f"(status {trajectory.status.name}) and {len(ensemble.times) - 1}"
        )
    if ensemble.seeds < 2:
        raise ValueError("ensemble must have at least two seeds, as the standard error comes from their spread; got one")


def _differences(first, second):
    a, b = first.to_dict(), second.to_dict()
    if a["type"] != b["type"]:
        return f"{a['type']} and {b['type']}"
    return ", ".join(f"{key} = {_short(a[key])} and {_short(b[key])}" for key in a if a[key] != b[key])


def _short(value):
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + " ..."
