"""Powers of the width that finite networks with one hidden layer follow, fitted and held against the derived ones.

The exponent of a quantity is the slope of the mean over seeds of its logarithm against that of the width, each width counting alike. The
mean of logarithms, not the logarithm of a mean: at initialization the logits are one random Gaussian function for each seed, the same on
all points to a good part, and so is what follows from them; they vary by a factor from seed to seed whatever the width, and their
logarithms have the same law at all large widths, hence a common mean that drops out of the slope, and a spread with moderate tails.
Equal weights, as the slope is then a fixed combination of independent means: its standard error follows from their spreads and has
known degrees of freedom (Welch, Satterthwaite), while weights estimated from few seeds would make it look too small.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from . import checks
from .ensemble import FunctionEnsemble
from .networks import ShallowNet
from .result import Result
from .shallow_scaling import exponent, refuse_unstable, scaling
from .simulate import simulate
from .specification import check_type
from .theories.shallow import check_problem

QUANTITIES = ("initial logits", "logits", "change of logits", "tangent kernel", "relative kernel change")
KERNEL_QUANTITIES = QUANTITIES[3:]
KINKED = ("leaky_relu", "relu")
THRESHOLD = 4.0
RESOLUTION = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class WidthExponent(Result):
    """The exponent of one quantity.

    Attributes
    ----------
    name : str
    widths : ndarray (W,)
    values : ndarray (W,)
        Geometric means over seeds.
    predicted : float
    fitted, standard_error, degrees : float
        Slope over all widths, and the degrees of freedom of its error.
    lower, lower_error, upper, upper_error : float
        Slopes over the lower and the upper half of the widths, two at least; the middle one of an odd number belongs to both.
    local, local_error : float
        Slope between the two largest widths.
    z : float
        (fitted - predicted) / standard_error, as a normal variable as unlikely as this Student variable.
    """

    name: str
    widths: np.ndarray
    values: np.ndarray
    predicted: float
    fitted: float
    standard_error: float
    degrees: float
    lower: float
    lower_error: float
    upper: float
    upper_error: float
    local: float
    local_error: float
    z: float

    @property
    def verdict(self):
        """In words.

        "agrees": |z| below 4. "unresolved": also, but with a standard error above 0.1. "approaches": |z| is 4 or more, but the slope of
        the upper half of the widths is nearer to the prediction than that of the lower half, by two standard errors or more.
        "DIFFERS": otherwise; the exponent of infinite width may still lie beyond these widths, which the fit cannot tell.
        """
        if abs(self.z) < THRESHOLD:
            return "agrees" if self.standard_error <= RESOLUTION else "unresolved"
        gain = abs(self.lower - self.predicted) - abs(self.upper - self.predicted)
        return "approaches" if gain > 2 * np.hypot(self.lower_error, self.upper_error) else "DIFFERS"

    def __str__(self):
        values = self.fitted, self.lower, self.upper, self.local
        errors = self.standard_error, self.lower_error, self.upper_error, self.local_error
        fitted, lower, upper, local = (f"{value:.3f} +- {error:.3f}" for value, error in zip(values, errors))
        return (
            f"  {self.name:23}{self.predicted:>7.3f}  {fitted:>16}{self.z:>8.1f}  {self.verdict}\n"
            f"    lower half {lower}, upper {upper}, last two {local}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class WidthExponents(Result):
    """Exponents of several quantities: print it.

    Attributes
    ----------
    network, data, training : Specification
    limit : str
        Name of the class, and of the correction.
    exponents : tuple of WidthExponent
    seeds : tuple of int
        Networks of each width.
    step : int
        At which logits and the change of the kernel are taken.
    """

    network: ShallowNet
    data: object
    training: object
    limit: str
    exponents: tuple
    seeds: tuple
    step: int

    def __getitem__(self, name):
        """The `WidthExponent` of this name."""
        names = [e.name for e in self.exponents]
        return self.exponents[names.index(checks.choice("name", name, names))]

    @property
    def agrees(self):
        """Whether all quantities agree with their derived exponents."""
        return all(e.verdict == "agrees" for e in self.exponents)

    def __str__(self):
        widths = ", ".join(str(w) for w in self.exponents[0].widths)
        seeds = str(self.seeds[0]) if len(set(self.seeds)) == 1 else ", ".join(map(str, self.seeds))
        return "\n".join(
            [
                f"Exponents of the width d, class {self.limit}",
                f"  d = {widths}; {seeds} seeds; step {self.step}",
                f"  {'':23}{'derived':>7}  {'fitted':>16}{'z':>8}",
                *map(str, self.exponents),
                "  z: fitted - derived over all widths, in standard errors over seeds",
                f"  agrees: |z| below {THRESHOLD:g}",
                "  approaches: it is not, but the upper half of the widths is significantly",
                "  nearer than the lower; DIFFERS: neither, widths or theory fall short",
            ]
        )


def width_exponents(
    network,
    data,
    training,
    *,
    widths=None,
    seeds=8,
    rng=0,
    loss="logistic",
    quantities=None,
    step=None,
    progress=True,
    workers=1,
    ensembles=None,
):
    """Fit powers of the width to finite networks, and compare them with the derived ones.

    Parameters
    ----------
    network : ShallowNet
    data : Dataset
    training : GradientDescent or MinibatchSGD
    widths : sequence of int
        Two or more; four or more over a factor of 16 make a fit worth having.
    seeds : int
        Networks of each width, two or more.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
        Widths have independent streams.
    loss : {"logistic", "hinge", "mse"}
    quantities : sequence of str, optional
        Of "initial logits" and "logits", the root mean square over points before training and at `step`; "change of logits", that of
        their difference; "tangent kernel", its norm before training; "relative kernel change", the norm of what it has changed at
        `step`, over that norm. Default all.
    step : int, optional
        Default the last. Exponents of logits show earliest at step 1.
    progress, workers
        As in `dmft.simulate`.
    ensembles : sequence of FunctionEnsemble, optional
        Instead of widths: simulations of the same problem at several widths, with track="kernels" if quantities need it.

    Returns
    -------
    WidthExponents

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument.

    Notes
    -----
    An exponent of infinite width may show late: compare the columns "lower half", "upper half" and "last two". For activations with a
    kink the derived exponent of the kernel's change holds where P is large: the slopes phi' at a training sample flip preferably one
    way, by that sample's own part in a step, which adds a term of relative order d^(q_sigma + q_eta) / P.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(1.0, 2)
    >>> widths = {"widths": (32, 64, 128), "seeds": 4, "quantities": ["logits"], "progress": False}
    >>> fitted = dmft.width_exponents(dmft.ShallowNet.ntk(), data, training, **widths)
    >>> print(fitted)
    Exponents of the width d, class N2: d = 32, 64, 128; 4 seeds; step 2
    ...
    """
    check_type("network", network, (ShallowNet,))
    check_problem(network, data, training, loss, None)
    quantities, step = _checked_quantities(quantities), _checked_step(step, training)
    predictions = _predictions(network, loss)
    if (widths is None) == (ensembles is None):
        raise ValueError(f"either widths or ensembles must be given, and not both; got widths={widths!r}")
    if ensembles is None:
        track = "kernels" if set(quantities) & set(KERNEL_QUANTITIES) else None
        widths, seeds, root = _checked_widths(widths), checks.integer("seeds", seeds, 2), checks.seed_sequence("rng", rng)
        streams = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, width)) for width in widths]
        options = {"seeds": seeds, "progress": progress, "workers": workers, "loss": loss, "track": track}
        ensembles = (simulate(network, data, training, width=w, rng=stream, **options) for w, stream in zip(widths, streams))
    else:
        ensembles = sorted(_checked_ensembles(ensembles, network, data, training, loss, quantities), key=lambda e: e.width)
    measured = {e.width: _measured(e, quantities, step) for e in ensembles}
    exponents = (_exponent(name, {w: values[name] for w, values in measured.items()}, predictions[name]) for name in quantities)
    limit = scaling(network, loss).limit.name + (", initialization-corrected" if network.corrected else "")
    counts = tuple(len(values[quantities[0]]) for values in measured.values())
    return WidthExponents(network, data, training, limit, tuple(exponents), counts, step)


def _predictions(network, loss):
    """The derived exponents by quantity."""
    scales = scaling(network, loss)
    if scales.limit is None:
        refuse_unstable(network, loss, "No others have derived exponents")
    change = "relative kernel change" + (", phi with a kink" if network.activation in KINKED else "")
    relative = exponent(network, loss, change)
    return dict(zip(QUANTITIES, (scales.initial, scales.logits, scales.logits, scales.kernel, relative)))


def _checked_quantities(quantities):
    if quantities is None:
        return QUANTITIES
    if isinstance(quantities, str) or not len(quantities):
        checks.fail("quantities", quantities, "a non-empty sequence of " + ", ".join(map(repr, QUANTITIES)))
    return tuple(dict.fromkeys(checks.choice(f"quantities[{i}]", name, QUANTITIES) for i, name in enumerate(quantities)))


def _checked_step(step, training):
    if step is None:
        return training.steps
    if checks.integer("step", step, 1) > training.steps:
        checks.fail("step", step, f"at most training.steps = {training.steps}")
    return step


def _checked_widths(widths):
    try:
        widths = sorted(checks.integer(f"widths[{i}]", width, 1) for i, width in enumerate(widths))
    except TypeError:
        checks.fail("widths", widths, "a sequence of integers", TypeError)
    if len(set(widths)) < max(2, len(widths)):
        checks.fail("widths", widths, "two or more different widths")
    return widths


def _checked_ensembles(ensembles, network, data, training, loss, quantities):
    ensembles = list(ensembles)
    for i, each in enumerate(ensembles):
        check_type(f"ensembles[{i}]", each, (FunctionEnsemble,))
        if (each.network, each.data, each.training, each.options["loss"]) != (network, data, training, loss):
            raise ValueError(f"ensembles must be of the stated network, data, training and loss; ensembles[{i}] is of another problem")
        if each.tangent_grams is None and set(quantities) & set(KERNEL_QUANTITIES):
            raise ValueError(f"ensembles must be simulated with track='kernels' for quantities of the kernel; ensembles[{i}] has none")
        if each.seeds < 2:
            raise ValueError(f"ensembles must have at least two seeds each, as errors come from their spread; ensembles[{i}] has one")
    _checked_widths([e.width for e in ensembles])
    return ensembles


def _measured(ensemble, quantities, step):
    """Logarithms of the quantities without normalisation, shape (seeds,) each."""
    scales = scaling(ensemble.network, ensemble.options["loss"])
    growth = np.log(ensemble.width / ensemble.network.reference_width)
    kernels = ensemble.tangent_grams

    def size(values, power=0.0):
        squares = np.mean(np.reshape(values, (ensemble.seeds, -1)) ** 2, axis=1)
        return 0.5 * np.log(squares) + power * growth

    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = {
            "initial logits": lambda: size(ensemble.initial_function, scales.initial),
            "logits": lambda: size(ensemble.function[:, step], scales.logits),
            "change of logits": lambda: size(ensemble.function[:, step] - ensemble.function[:, 0], scales.logits),
            "tangent kernel": lambda: size(kernels[:, 0], scales.kernel),
            "relative kernel change": lambda: size(kernels[:, step] - kernels[:, 0]) - size(kernels[:, 0]),
        }
        result = {name: sizes[name]() for name in quantities}
    for name, values in result.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} must be finite and not zero to have an exponent; of a network of width {ensemble.width} it is not")
    return result


def _exponent(name, logarithms, predicted):
    """The `WidthExponent` of logarithms by width, in the order of the widths."""
    widths = np.array(list(logarithms))
    fitted, error, degrees = _slope(logarithms)
    items, half = list(logarithms.items()), max(2, (len(widths) + 1) // 2)
    lower, upper, local = (_slope(dict(part))[:2] for part in (items[:half], items[-half:], items[-2:]))
    t = (fitted - predicted) / error
    z = -np.sign(t) * special.ndtri_exp(stats.t.logsf(abs(t), degrees))
    values = np.exp([np.mean(v) for v in logarithms.values()])
    return WidthExponent(name, widths, values, predicted, fitted, error, degrees, *lower, *upper, *local, float(z))


def _slope(logarithms):
    """Slope with equal weights, its standard error and the degrees of freedom of that."""
    x = np.log(list(logarithms))
    factors = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    parts = [(f * np.mean(v), f**2 * np.var(v, ddof=1) / len(v), len(v) - 1) for f, v in zip(factors, logarithms.values())]
    variance = sum(v for _, v, _ in parts)
    degrees = variance**2 / sum(v**2 / n for _, v, n in parts)
    return float(sum(m for m, _, _ in parts)), float(np.sqrt(variance)), float(degrees)
