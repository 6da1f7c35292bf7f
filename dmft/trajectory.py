"""What every solver returns: the trajectory of losses and two-time functions, and how it came about."""

import enum
from dataclasses import dataclass, field

import numpy as np

from . import checks


class Status(enum.Enum):
    """How a solve ended; `remedy` says what to do about it."""

    COMPLETED = "completed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"

    @property
    def remedy(self):
        return {
            Status.COMPLETED: "All steps were solved.",
            Status.DIVERGED: "The training itself diverges at this learning rate: lower learning_rate (or momentum), or take smaller richness.",
            Status.INTERRUPTED: "The solve was stopped early; the finished rows are exact. Continue with dmft.resume.",
        }[self]


#: Two-time functions by public name: layer-wise ones carry a leading layer axis in `Trajectory.kernels`.
CORRELATIONS = {"h": "Ch", "g": "Cg", "v": "Cv", "u": "Cu", "delta": "Cd"}
RESPONSES = {"h": "Rh", "g": "Rg", "v": "Rv", "u": "Ru", "delta": "Rd"}
LAYERED = ("h", "g")
KERNELS = (*CORRELATIONS.values(), *RESPONSES.values())


@dataclass(eq=False)
class Trajectory:
    """Losses and two-time functions of a solved problem.

    Attributes
    ----------
    network, data, training
        The problem as stated.
    status : Status
    finished : int
        Number of exact time rows: steps + 1 when completed; the diverging step when diverged.
    test_loss, train_loss : ndarray (T,)
        Mean squares, summed over outputs, before every step; T = steps + 1. From the diverging step on they are inf; an
        interrupted trajectory has only its finished rows. Test losses do not include the label noise.
    kernels : dict of ndarray
        Lower triangles of the correlations (Ch, Cg: (L, n, n); Cv, Cu, Cd: (n, n)) and of the responses divided by gamma
        (Rh, Rg) or plain (Rv, Ru, Rd); n = T C, time-major. Read them through `correlation` and `response`.
    method : str
    options : dict
        Everything else that decided the result.
    report : dict
        How the solve went: elapsed seconds, residuals, memory.
    """

    network: object
    data: object
    training: object
    status: Status
    finished: int
    test_loss: np.ndarray
    train_loss: np.ndarray
    kernels: dict
    method: str = "causal"
    options: dict = field(default_factory=dict)
    report: dict = field(default_factory=dict)

    @property
    def times(self):
        """Steps 0 ... as a (T,) array; entry t is before step t."""
        return np.arange(len(self.test_loss))

    @property
    def diverged_at(self):
        """The step whose loss is no longer finite or reasonable; None unless diverged."""
        return self.finished if self.status is Status.DIVERGED else None

    def correlation(self, name, layer=None):
        """Two-time correlation of a field.

        Parameters
        ----------
        name : {"h", "g", "v", "u", "delta"}
            "h", "g": forward and backward fields of a layer, <h^l h^l>, <g^l g^l>. "v": error of the learned map, averaged over
            input modes with weight lambda_k, so that its diagonal is the test loss. "u": gradient field on the inputs.
            "delta": errors on the training samples; its diagonal is the train loss (and more, for random subsets).
        layer : int, optional
            1 ... L, for "h" and "g" only.

        Returns
        -------
        ndarray, shape (T, T), or (T, C, T, C) for several outputs
            Symmetric; inf outside the finished rows.
        """
        lower = self._kernel("correlation", CORRELATIONS, name, layer)
        strict = np.tril(lower, -1)
        return self._shaped(np.tril(lower) + strict.T, symmetric=True)

    def response(self, name, layer=None):
        """Two-time response of a field: dh^l/db^l, dg^l/da^l, R_v and R_u = Q (averaged over modes), R_delta.

        Same arguments and shapes as `correlation`; zero above the diagonal. Source: theory/deep_linear.md, sections 1 and 3.
        """
        lower = self._kernel("response", RESPONSES, name, layer)
        factor = self.network.richness if name in LAYERED else 1.0
        return self._shaped(factor * np.tril(lower), symmetric=False)

    def _kernel(self, kind, names, name, layer):
        if name not in tuple(names):
            raise ValueError(f"name must be one of {', '.join(map(repr, names))} for a {kind}; got {name!r}")
        if name not in LAYERED:
            if layer is not None:
                raise ValueError(f"layer must be None for {name!r}, which belongs to no layer; got {layer!r}")
            return self.kernels[names[name]]
        depth = self.network.depth
        allowed = f"an integer from 1 to {depth} for {name!r}"
        if layer is None:
            checks.fail("layer", layer, allowed)
        layer = checks.integer("layer", layer, 1)
        if layer > depth:
            checks.fail("layer", layer, allowed)
        return self.kernels[names[name]][layer - 1]

    def _shaped(self, matrix, symmetric):
        outputs = self.network.outputs
        done = self.finished * outputs
        matrix[done:] = np.inf if symmetric else np.tril(np.full(matrix.shape, np.inf))[done:]
        if symmetric:
            matrix[:, done:] = np.inf
        if outputs == 1:
            return matrix
        rows = len(matrix) // outputs
        return matrix.reshape(rows, outputs, rows, outputs)

    @property
    def nbytes(self):
        """Memory of all arrays, in bytes."""
        return sum(a.nbytes for a in self.kernels.values()) + self.test_loss.nbytes + self.train_loss.nbytes

    def save(self, path):
        """Write an HDF5 file that `dmft.load` reads back and `dmft.resume` continues."""
        from .storage import save

        save(self, path)

    def to_xarray(self):
        """Labelled view as an `xarray.Dataset` (needs the optional dependency xarray)."""
        import xarray

        variables = {"test_loss": ("time", self.test_loss), "train_loss": ("time", self.train_loss)}
        dims = ("time", "time'") if self.network.outputs == 1 else ("time", "output", "time'", "output'")
        for prefix, names, read in (("C", CORRELATIONS, self.correlation), ("R", RESPONSES, self.response)):
            for name in names:
                if name in LAYERED:
                    stack = np.stack([read(name, layer=l) for l in range(1, self.network.depth + 1)])
                    variables[f"{prefix}_{name}"] = (("layer", *dims), stack)
                else:
                    variables[f"{prefix}_{name}"] = (dims, read(name))
        coordinates = {"time": self.times, "time'": self.times, "layer": np.arange(1, self.network.depth + 1)}
        return xarray.Dataset(variables, coordinates, {"status": self.status.value, "method": self.method})

    def __str__(self):
        last = min(self.finished, len(self.test_loss)) - 1
        lines = [
            f"Trajectory: {self.status.value}, {self.finished} of {self.training.steps + 1} rows by method {self.method!r}"
            + (f"; diverged at step {self.diverged_at}" if self.diverged_at is not None else ""),
            f"  {self.network}",
            f"  {self.data}",
            f"  {self.training}",
            f"  test loss  {self.test_loss[0]:.6g} -> {self.test_loss[last]:.6g}    train loss  {self.train_loss[0]:.6g} -> {self.train_loss[last]:.6g}",
            f"  kernels    {', '.join(f'{k} {v.shape}' for k, v in self.kernels.items())}    {self.nbytes / 2**20:.1f} MiB",
        ]
        if "elapsed" in self.report:
            lines.append(f"  solved in  {self.report['elapsed']:.3g} s")
        if self.status is not Status.COMPLETED:
            lines.append(f"  {self.status.remedy}")
        return "\n".join(lines)

    __repr__ = __str__
