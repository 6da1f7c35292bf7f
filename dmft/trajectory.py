"""What every solver returns: a trajectory of functions of time, and how it came about."""

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .result import Result
from .tables import Tabular


class Status(enum.Enum):
    """How a solve ended; `remedy` says what to do about it.

    Examples
    --------
    >>> dmft.Status.INTERRUPTED.remedy
    'The solve was stopped early; the finished rows are exact. Continue with dmft.resume.'
    """

    COMPLETED = "completed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"

    @property
    def remedy(self):
        """What to do about it, a sentence."""
        return {
            Status.COMPLETED: "All steps were solved.",
            Status.DIVERGED: "The training itself diverges at this learning rate: lower learning_rate (or momentum), or take smaller richness.",
            Status.INTERRUPTED: "The solve was stopped early; the finished rows are exact. Continue with dmft.resume.",
        }[self]


@dataclass(frozen=True)
class Stored:
    """How an array of a trajectory is stored: the names of its dimensions, what it is, and how it grows with the time rows.

    Arrays of fewer dimensions lack the last ones: those of networks with one output lack "output".

    `layout` is "rows": the first axis is time; "growing": so it is, and later rows are longer along the last axis, where earlier ones
    are zero; "triangle": the last two are time (times outputs), nothing above the diagonal; "fixed": it does not grow; "filled": nor
    does it, but its values come in the course of time.
    """

    dimensions: tuple
    description: str
    layout: str = "rows"


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Tabular, Result, ABC):
    """Solution of a stated problem; each theory adds its functions of time.

    Trajectories are equal if they solve the same problem by the same method with the same options, and all that is exact is equal, number
    for number; `report` does not count. Arrays cannot be written to.

    Attributes
    ----------
    network, data, training
        The problem as stated.
    status : Status
    finished : int
        Number of exact time rows: steps + 1 when completed; the diverging step when diverged.
    method : str
    options : dict
        Everything else that decided the result.
    report : dict
        How the solve went: elapsed seconds, residuals, memory.

    Examples
    --------
    >>> trajectory = dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(2.0), dmft.GradientDescent(0.2, 20), progress=False)
    >>> trajectory
    <Trajectory: completed, 21 of 21 rows by method 'causal'>
    >>> trajectory.times.shape, trajectory.train_loss.shape, trajectory.status.name
    ((21,), (21,), 'COMPLETED')
    >>> trajectory.save("run.h5")
    >>> dmft.load("run.h5") == trajectory
    True
    """

    network: object
    data: object
    training: object
    status: Status
    finished: int
    method: str = field(default="causal", kw_only=True)
    options: dict = field(default_factory=dict, kw_only=True)
    report: dict = field(default_factory=dict, kw_only=True, compare=False)

    #: By name in the file, in the order in which they are written.
    stored: ClassVar[dict[str, Stored]] = {}

    @property
    def rows(self):
        """T: `training.rows`, or the finished rows of an interrupted trajectory."""
        return self.finished if self.status is Status.INTERRUPTED else self.training.rows

    @property
    def times(self):
        """Those of `training.times` that are solved or diverged, shape (T,): steps 0 ..., entry t before step t; of a flow real times."""
        return self.training.times[: self.rows]

    @property
    def loss(self):
        """The loss that is trained on: another name of `train_loss`."""
        return self.train_loss

    @property
    def diverged_at(self):
        """The step whose loss is no longer finite or reasonable; None unless diverged."""
        return self.finished if self.status is Status.DIVERGED else None

    def arrays(self):
        """The arrays to be stored, by the names of `stored`; those that this trajectory does not have are left out."""
        return {name: getattr(self, name) for name in self.stored if getattr(self, name) is not None}

    @classmethod
    def from_arrays(cls, arrays, **common):
        """The inverse of `arrays`."""
        return cls(**{name: arrays.get(name) for name in cls.stored}, **common)

    def labels(self, name):
        """Names of the dimensions of an array."""
        return self.stored[name].dimensions[: getattr(self, name).ndim]

    def _attributes(self):
        return {"status": self.status.value, "method": self.method}

    def _compared(self):
        stated = ("network", "data", "training", "status", "finished", "method", "options")
        return {name: getattr(self, name) for name in stated} | {name: self._exact(name, array) for name, array in self.arrays().items()}

    def _exact(self, name, array):
        """What of an array is solved: finished rows, of two-time functions the lower triangle."""
        layout = self.stored[name].layout
        if layout == "triangle":
            done = self.finished * (array.shape[-1] // self.rows)
            return np.tril(array[..., :done, :done])
        return array if layout in ("fixed", "filled") else array[: self.finished]

    @property
    def nbytes(self):
        """Memory of all arrays, in bytes."""
        return sum(array.nbytes for array in self.arrays().values())

    def save(self, path):
        """Write an HDF5 file that `dmft.load` reads back and `dmft.resume` continues.

        Parameters
        ----------
        path : path
            A trajectory file that exists is replaced.

        Raises
        ------
        StorageError
            If the file cannot be written, or exists and is something else.
        """
        from .storage import save

        save(self, path)

    @abstractmethod
    def summary(self):
        """Lines of the printed form that say what the trajectory found."""

    def __str__(self):
        lines = [
            f"Trajectory: {self.status.value}, {self.finished} of {self.training.rows} rows by method {self.method!r}"
            + (f"; diverged at step {self.diverged_at}" if self.diverged_at is not None else ""),
            f"  {self.network}",
            f"  {self.data}",
            f"  {self.training}",
            *(f"  {line}" for line in self.summary()),
        ]
        if "elapsed" in self.report:
            lines.append(f"  solved in  {self.report['elapsed']:.3g} s")
        if self.status is not Status.COMPLETED:
            lines.append(f"  {self.status.remedy}")
        return "\n".join(lines)
