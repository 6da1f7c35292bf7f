"""Which networks may be drawn beside a trajectory."""

from ..specification import check_type


def check_beside(trajectory, ensemble, kind, names=("network", "data")):
    """Raise TypeError or ValueError unless `ensemble` is of this class and of the trajectory's problem, as far as `names` say."""
    check_type("ensemble", ensemble, (kind,))
    for name in names:
        if getattr(ensemble, name) != getattr(trajectory, name):
            raise ValueError(f"ensemble must have the {name} of the trajectory; they differ")
