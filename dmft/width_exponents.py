"""Powers of the width that finite networks with one hidden layer follow, fitted and held against the derived ones.

The exponent of a quantity is the slope of the mean over seeds of its logarithm (`width_powers`). At initialization the logits are one
random Gaussian function for each seed, the same on all points to a good part, and so is what follows from them; they vary by a factor from
seed to seed whatever the width, and their logarithms have the same law at all large widths, hence a common mean that drops out of the
slope, and a spread with moderate tails.

Exponents are those of infinite width, and a smaller power with a large coefficient may hide the leading one at all widths of a simulation:
the logits of a mean-field network are an initial function of order d^(-1/2) and what training adds, of order one but small after a few
steps. So the fit is made twice, with a correction k d^(-1/2) of typical size, k about 1, and with corrections d^(-1/2) and d^(-1) that may
be of order one at the smallest width.
"""

from dataclasses import dataclass

import numpy as np

from . import checks
from .comparisons.judgement import AGREES, CANNOT_TELL, DIFFERS
from .comparisons.rows import Row, judged
from .ensemble import FunctionEnsemble
from .interruption import collected
from .networks import ShallowNet
from .result import Result
from .shallow_scaling import exponent, refuse_unstable, scaling
from .simulate import simulate
from .specification import check_type
from .theories.shallow import check_problem
from .width_powers import TYPICAL, fitted

QUANTITIES = ("initial logits", "logits", "change of logits", "tangent kernel", "relative kernel change")
KERNEL_QUANTITIES = QUANTITIES[3:]
KINKED = ("leaky_relu", "relu")
#: A difference of exponents that must be seen, for networks and theory to agree.
RESOLUTION = 0.25


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
    plain : float
        Slope over all widths, without correction.
    local : float
        Slope between the two largest widths.
    typical, large : Row
        fitted - predicted with its standard error and significance, of the fit with a correction of typical size, and with large ones.
    """

    name: str
    widths: np.ndarray
    values: np.ndarray
    predicted: float
    plain: float
    local: float
    typical: Row
    large: Row

    @property
    def fitted(self):
        """Exponent of the fit with a correction of typical size."""
        return self.predicted + self.typical.deviation

    @property
    def standard_error(self):
        """Of `fitted`."""
        return self.typical.standard_error

    @property
    def z(self):
        """(fitted - predicted) / standard_error."""
        return self.typical.z

    @property
    def outcome(self):
        """ "agrees", "differs" or "cannot tell".

        "differs": both fits are significantly off. "agrees": one is not, and would have found an exponent 1/4 away with probability 90%.
        "cannot tell": otherwise; take larger widths or more seeds.
        """
        fits = self.typical, self.large
        if all(fit.differs for fit in fits):
            return DIFFERS
        return AGREES if any(not fit.differs and fit.detectable <= RESOLUTION for fit in fits) else CANNOT_TELL

    def __str__(self):
        fitted, large = (f"{self.predicted + fit.deviation:.3f} ± {fit.standard_error:.3f}" for fit in (self.typical, self.large))
        return (
            f"  {self.name:23}{self.predicted:>7.3f}  {fitted:>16}{self.z:>8.1f}  {self.outcome}\n"
            f"    large k {large}, plain {self.plain:.3f}, last two {self.local:.3f}; seen from {self.typical.detectable:.2f}"
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
    level : float
        Chance that a right exponent differs, in any row.
    """

    network: ShallowNet
    data: object
    training: object
    limit: str
    exponents: tuple
    seeds: tuple
    step: int
    level: float

    def __getitem__(self, name):
        """The `WidthExponent` of this name."""
        names = [e.name for e in self.exponents]
        return self.exponents[names.index(checks.choice("name", name, names))]

    @property
    def outcome(self):
        """ "differs" if any quantity does, "agrees" if all do, else "cannot tell"."""
        outcomes = {e.outcome for e in self.exponents}
        return DIFFERS if DIFFERS in outcomes else CANNOT_TELL if CANNOT_TELL in outcomes else AGREES

    @property
    def agrees(self):
        """Whether all quantities agree with their derived exponents."""
        return self.outcome == AGREES

    def __str__(self):
        widths = ", ".join(str(w) for w in self.exponents[0].widths)
        seeds = str(self.seeds[0]) if len(set(self.seeds)) == 1 else ", ".join(map(str, self.seeds))
        return "\n".join(
            [
                f"Exponents of the width d, class {self.limit}",
                f"  d = {widths}; {seeds} seeds; step {self.step}",
                f"  {'':23}{'derived':>7}  {'fitted':>16}{'z':>8}",
                *map(str, self.exponents),
                "  fitted: with a correction k d^(-1/2), k about 1; plain: without",
                f"  large k: d^(-1/2) and d^(-1) of order one at d = {self.exponents[0].widths[0]}",
                "  z: (fitted - derived) / standard error",
                "  seen from: distance of an exponent that is found with probability 90%",
                f"  differs: both fits, by more than chance, {self.level:g} for all (Holm)",
                f"  agrees: one does not, and would see a distance of {RESOLUTION:g}",
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
    level=0.01,
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
    level : float
        Chance, below 1/2, that a right exponent is said to differ, for all quantities together.
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
    Interrupted
        After Ctrl-C; its `result` is the list of the ensembles by then.

    Notes
    -----
    An exponent of infinite width may show late: compare the columns "plain" and "last two". For activations with a kink the derived
    exponent of the kernel's change holds where P is large: the slopes phi' at a training sample flip preferably one way, by that sample's
    own part in a step, which adds a term of relative order d^(q_sigma + q_eta) / P.

    Examples
    --------
    >>> data, training = dmft.datasets.binary_digits(samples=8), dmft.GradientDescent(1.0, 2)
    >>> widths = {"widths": (32, 64, 128), "seeds": 4, "quantities": ["logits"], "progress": False}
    >>> fitted = dmft.width_exponents(dmft.ShallowNet.ntk(), data, training, **widths)
    >>> print(fitted)
    Exponents of the width d, class N2
      d = 32, 64, 128; 4 seeds; step 2
    ...
    """
    check_type("network", network, (ShallowNet,))
    check_problem(network, data, training, loss, None)
    quantities, step = _checked_quantities(quantities), _checked_step(step, training)
    level = checks.number("level", level, "a number between 0 and 0.5", lambda v: 0 < v < 0.5)
    predictions = _predictions(network, loss)
    if (widths is None) == (ensembles is None):
        raise ValueError(f"either widths or ensembles must be given, and not both; got widths={checks.shown(widths)}")
    if ensembles is None:
        track = "kernels" if set(quantities) & set(KERNEL_QUANTITIES) else None
        widths, seeds, root = _checked_widths(widths), checks.integer("seeds", seeds, 2), checks.seed_sequence("rng", rng)
        streams = [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, width)) for width in widths]
        options = {"seeds": seeds, "progress": progress, "workers": workers, "loss": loss, "track": track}
        simulated = (simulate(network, data, training, width=w, rng=stream, **options) for w, stream in zip(widths, streams))
        ensembles = collected(simulated, "the ensembles by then are the result of this exception; width_exponents takes them as `ensembles`")
    else:
        ensembles = sorted(_checked_ensembles(ensembles, network, data, training, loss, quantities), key=lambda e: e.width)
    measured = {e.width: _measured(e, quantities, step) for e in ensembles}
    exponents = _exponents({name: [values[name] for values in measured.values()] for name in quantities}, measured, predictions, level)
    limit = scaling(network, loss).limit.name + (", initialization-corrected" if network.corrected else "")
    counts = tuple(len(values[quantities[0]]) for values in measured.values())
    return WidthExponents(network, data, training, limit, exponents, counts, step, level)


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
    allowed = "a non-empty sequence of " + ", ".join(map(repr, QUANTITIES))
    given = checks.sequence("quantities", quantities, allowed)
    if not given:
        checks.fail("quantities", quantities, allowed)
    return tuple(dict.fromkeys(checks.choice(f"quantities[{i}]", name, QUANTITIES) for i, name in enumerate(given)))


def _checked_step(step, training):
    if step is None:
        return training.steps
    if checks.integer("step", step, 1) > training.steps:
        checks.fail("step", step, f"at most training.steps = {training.steps}")
    return step


def _checked_widths(widths):
    given = checks.sequence("widths", widths, "a sequence of integers")
    widths = sorted(checks.integer(f"widths[{i}]", width, 1) for i, width in enumerate(given))
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
    """The quantities without normalisation, shape (seeds,) each."""
    scales = scaling(ensemble.network, ensemble.options["loss"])
    growth = ensemble.width / ensemble.network.reference_width
    kernels = ensemble.tangent_grams

    def size(values, power=0.0):
        squares = np.mean(np.reshape(values, (ensemble.seeds, -1)) ** 2, axis=1)
        return np.sqrt(squares) * growth**power

    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = {
            "initial logits": lambda: size(ensemble.initial_function, scales.initial),
            "logits": lambda: size(ensemble.function[:, step], scales.logits),
            "change of logits": lambda: size(ensemble.function[:, step] - ensemble.function[:, 0], scales.logits),
            "tangent kernel": lambda: size(kernels[:, 0], scales.kernel),
            "relative kernel change": lambda: size(kernels[:, step] - kernels[:, 0]) / size(kernels[:, 0]),
        }
        result = {name: sizes[name]() for name in quantities}
    for name, values in result.items():
        if not np.all(np.isfinite(values) & (values > 0)):
            raise ValueError(f"{name} must be finite and not zero to have an exponent; of a network of width {ensemble.width} it is not")
    return result


def _exponents(sizes, widths, predictions, level):
    """`WidthExponent`s of arrays (seeds,) for each of the increasing widths."""
    widths = np.array(list(widths))
    large = {power: widths[0] ** power for power in (0.5, 1.0)}
    fits = {name: [fitted(values, widths, corrections) for corrections in (TYPICAL, large)] for name, values in sizes.items()}
    typical, large = (judged([_row(name, fits[name][i], predictions[name]) for name in sizes], level) for i in (0, 1))
    return tuple(
        WidthExponent(
            name,
            widths,
            np.exp([np.mean(np.log(v)) for v in values]),
            predictions[name],
            fits[name][0].plain,
            fitted(values[-2:], widths[-2:]).plain,
            one,
            other,
        )
        for (name, values), one, other in zip(sizes.items(), typical, large)
    )


def _row(name, fit, predicted):
    """The `Row` of a slope; what is unknown of the correction counts as a normal error of known size."""
    return Row(name, fit.slope - predicted, fit.spread_error, fit.degrees, fit.unknown, np.inf)
