"""Coordinate check: do the signals of finite networks grow or decay with the width as the exponents of a parameterization say?

Source: docs/theory/deep_parameterizations.md, sections 5 and 6; in the spirit of the coordinate checks of arXiv 2203.03466.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from derivations.printed import Printed

from . import checks
from .interruption import collected
from .networks import DeepNet
from .result import Result
from .simulate import simulate
from .simulations.deep import check_problem
from .specification import Specification, check_type
from .width_powers import fitted

WIDTHS = (64, 128, 256, 512, 1024)
THRESHOLD = 4.0
#: Left for corrections of other orders than m^(-1/2).
ALLOWANCE = 0.05
#: Smallest difference of two exponents.
SPACING = 0.5
_LOGITS = {"h": "f", "change of h": "change of f", "update of h": "update of f"}
_SHOWN = ("h", "f", "dh", "update of h", "update of f", "change of h", "change of f")


@dataclass(frozen=True, repr=False)
class CoordinateRow(Printed):
    """One signal in one layer: the power of the width that is fitted, and the one that is derived.

    Attributes
    ----------
    signal, layer, step : str, int, int
        As in `derivations.deep.Exponent`.
    expected : Fraction, or -inf for what is zero
    slope, error : float
        Slope of the mean over seeds of log size against log width, with a correction k m^(-1/2), and its standard error, from the spread
        of the seeds and from what remains unknown of k, as in `dmft.width_powers`. -inf and zero for what is zero at all widths.
    plain : float
        Slope by least squares without the further term.
    tolerance : float
        threshold * error + 0.05; corrections of other orders may take the last.
    """

    signal: str
    layer: int
    step: int
    expected: object
    slope: float
    error: float
    plain: float
    tolerance: float

    @property
    def passed(self):
        """|slope - expected| <= tolerance."""
        return self.slope == self.expected or abs(self.slope - self.expected) <= self.tolerance

    @property
    def resolved(self):
        """Whether the two neighbouring exponents, 1/2 away, would not pass."""
        distance = abs(self.slope - self.expected)
        return self.slope == self.expected or abs(distance - SPACING) > self.tolerance


@dataclass(frozen=True, eq=False, repr=False)
class CoordinateCheck(Result):
    """Fitted against derived exponents: print it.

    Attributes
    ----------
    network, data, training : Specification
    loss : str
    widths : tuple of int
    seeds : int
        Networks at each width.
    sizes : dict of {(str, int, int): ndarray}
        Signal, layer, step to root mean squares over neurons and samples, shape (widths, seeds).
    rows : tuple of CoordinateRow
    threshold : float

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 1)
    >>> check = dmft.coordinate_check(dmft.DeepNet(1), data, training, widths=(16, 32, 64), seeds=2, progress=False)
    >>> check.row("change of h", layer=1, step=1).expected
    Fraction(0, 1)
    """

    network: Specification
    data: Specification
    training: Specification
    loss: str
    widths: tuple
    seeds: int
    sizes: dict
    rows: tuple
    threshold: float

    @property
    def passed(self):
        """Whether every row has passed."""
        return all(row.passed for row in self.rows)

    def row(self, signal, layer, step):
        """One `CoordinateRow`.

        Parameters
        ----------
        signal : str
            "h", "dh", "update of h" or "change of h" of hidden layers, "f", "update of f" or "change of f" of the logits.
        layer : int
            1 ... L, and L + 1 of the logits.
        step : int

        Raises
        ------
        ValueError
            If there is no such row.
        """
        checks.choice("signal", signal, tuple(dict.fromkeys(row.signal for row in self.rows)))
        layer, step = checks.integer("layer", layer, 1), checks.integer("step", step, 0)
        found = [row for row in self.rows if (row.signal, row.layer, row.step) == (signal, layer, step)]
        if not found:
            raise ValueError(f"signal, layer, step must be those of a row; got {(signal, layer, step)!r}")
        return found[0]

    def __str__(self):
        failed = sum(not row.passed for row in self.rows)
        verdict = "PASS" if self.passed else f"FAIL in {failed} of {len(self.rows)} rows"
        lines = [
            f"Coordinate check: {verdict}",
            f"  {self.network}",
            f"  widths {', '.join(map(str, self.widths))}, {self.seeds} seeds each, P = {len(self.data.x)}, loss {self.loss!r}",
            f"  PASS: |slope - derived| <= {self.threshold:g} s.e. + {ALLOWANCE}",
            "  slope: of log size against log width, with a correction m^(-1/2)",
            "  plain: without the correction",
            "  '?': an exponent 1/2 away would pass as well, take more seeds or larger widths",
            "",
            f"  step  {'signal':<13}layer  derived    slope     s.e.    plain",
        ]
        for row in self.rows:
            mark = ("PASS" if row.passed else "FAIL") + ("" if row.resolved else " ?")
            numbers = f"{_text(row.expected):>7}  {row.slope:>7.3f}  {row.error:>7.3f}  {row.plain:>7.3f}"
            lines.append(f"  {row.step:>4}  {row.signal:<13}{row.layer:>5}  {numbers}  {mark}")
        return "\n".join(lines)


def _text(exponent):
    return "zero" if exponent == -math.inf else str(exponent)


def coordinate_check(
    network, data, training, *, widths=WIDTHS, seeds=8, rng=0, loss="mse", steps=(0, 1), threshold=THRESHOLD, progress=True, workers=1
):
    """Train networks of several widths and hold the sizes of their signals against the derived powers of the width.

    What is derived is `network.abc.analyze` of its activation; nothing is fitted to agree with it. Exponents are those of generic
    problems, and those from which logits have grown with the width are left out. On a few samples a coincidence can make a coefficient
    nearly zero, and the fit then shows the exponent of the next term: deep relu networks map all inputs to nearly the same direction,
    so that the updates of labels with mean zero cancel.

    Parameters
    ----------
    network : DeepNet
    data : Dataset
        Its test points are left out.
    training : GradientDescent or MinibatchSGD
        Its first steps.
    widths : sequence of at least 3 integers >= 2, increasing
        Better at least 4, over a factor of 16.
    seeds : int
        At least 2, at each width.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
    loss : str
        As in `dmft.simulate`.
    steps : sequence of {0, 1, 2}
        When to look: before training, after one step, after two.
    threshold : float
        Standard errors in the tolerance.
    progress, workers
        As in `dmft.simulate`.

    Returns
    -------
    CoordinateCheck

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.
    Interrupted
        After Ctrl-C; its `result` is the list of the ensembles by then.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(0.2, 1)
    >>> check = dmft.coordinate_check(dmft.DeepNet(1), data, training, widths=(16, 32, 64), seeds=4, progress=False)
    >>> check.row("change of h", layer=1, step=1).expected
    Fraction(0, 1)
    >>> print(check)
    Coordinate check: ...
    """
    check_type("network", network, (DeepNet,))
    check_problem(network, data, training, loss)
    widths, steps = _increasing("widths", widths, 3, 2), _increasing("steps", steps, 1, 0)
    seeds, threshold = checks.integer("seeds", seeds, 2), checks.positive("threshold", threshold)
    last = max(1, steps[-1])
    if last > min(2, training.steps):
        raise ValueError(f"steps must be at most 2, so far exponents are derived, and training.steps = {training.steps}; got {steps[-1]}")
    data = replace(data, test_x=None, test_y=None)
    training = replace(training, steps=last, learning_rate=training.learning_rates[:last])
    root = checks.seed_sequence("rng", rng)
    streams = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, width)) for width in widths]
    options = {"seeds": seeds, "loss": loss, "track": "coordinates", "progress": progress, "workers": workers}
    simulated = (simulate(network, data, training, width=width, rng=stream, **options) for width, stream in zip(widths, streams))
    ensembles = collected(simulated, "the ensembles by then, one of each width, are the result of this exception")
    sizes = _named(np.array([ensemble.coordinates for ensemble in ensembles]), network.depth, steps)
    derived = _covered(network.abc.analyze(_analyzed(network)).exponents, network.depth)
    return CoordinateCheck(network, data, training, loss, widths, seeds, sizes, judge(sizes, widths, derived, threshold), threshold)


def _increasing(name, values, count, minimum):
    values = checks.sequence(name, values, f"a sequence of at least {count} increasing integers >= {minimum}")
    values = tuple(checks.integer(f"{name}[{i}]", value, minimum) for i, value in enumerate(values))
    if len(values) < count or any(a >= b for a, b in zip(values, values[1:])):
        checks.fail(name, values, f"a sequence of at least {count} increasing integers >= {minimum}")
    return values


def _analyzed(network):
    """The activation under the name by which it is analyzed."""
    return "linear" if network.negative_slope == 1 else network.activation


def _covered(exponents, depth):
    """Exponents as long as the derivative of the loss by the logits is of order one, as assumed: not once these grow with the width."""
    growing = [step for signal, _, step in exponents if signal == "f" and exponents["f", depth + 1, step] > 0]
    end = min(growing, default=math.inf)
    return {key: value for key, value in exponents.items() if key[2] < end or (key[2] == end and key[0] != "dh")}


def _named(coordinates, depth, steps):
    """Arrays (widths, seeds) by signal, layer and step of `coordinates`, shape (widths, seeds, T, signals, L + 1)."""
    from solvers.finite_deep import SIGNALS

    sizes = {}
    for step in steps:
        for i, signal in enumerate(SIGNALS):
            for layer in range(1, depth + 2):
                name = signal if layer <= depth else _LOGITS.get(signal)
                sizes[name, layer, step] = coordinates[:, :, step, i, layer - 1]
    return sizes


def judge(sizes, widths, derived, threshold=THRESHOLD):
    """`CoordinateRow`s of `sizes`, as in `CoordinateCheck`, against exponents by the same keys; what has no exponent is left out.

    Sizes are averaged over seeds as logarithms: means of the sizes themselves are dominated by rare networks.
    """
    rows = []
    for key in sorted(set(sizes) & set(derived), key=lambda key: (key[2], _rank(key[0]), key[1])):
        if key[0] in _SHOWN:
            fit = fitted(sizes[key], widths)
            rows.append(CoordinateRow(*key, derived[key], fit.slope, fit.error, fit.plain, threshold * fit.error + ALLOWANCE))
    return tuple(rows)


def _rank(signal):
    """Signals of layers and of the logits under one heading."""
    return _SHOWN.index({text: name for name, text in _LOGITS.items()}.get(signal, signal)) if signal in _SHOWN else len(_SHOWN)
