"""Bad input to every public call: refused before any work, naming the argument and what was given."""

import math

import numpy as np
import pytest

import dmft
import dmft.parameterizations
import dmft.problem_file
import dmft.specification

NET, DATA, RUN = dmft.DeepLinear(2), dmft.GaussianData(1.5, 0.3), dmft.GradientDescent(0.05, 4)
GD, SGD, BATCHES = dmft.GradientDescent, dmft.OnlineSGD, dmft.MinibatchSGD
PAIR = dmft.Dataset(np.eye(3), np.arange(3.0))
WIDE = dmft.DeepLinear(1, math.inf)
RESNET = dmft.DeepLinearResNet


@pytest.fixture(scope="module")
def traj():
    return dmft.solve(NET, DATA, RUN, progress=False)


@pytest.fixture(scope="module")
def ens():
    return dmft.simulate(NET, DATA, RUN, dim=20, seeds=2, progress=False)


#: id: (call, error, pattern that starts the message)
CONSTRUCTORS = {
    "depth zero": (lambda: dmft.DeepLinear(0), ValueError, "depth must be an integer >= 1; got 0"),
    "depth float": (lambda: dmft.DeepLinear(2.0), TypeError, "depth must be an integer >= 1; got 2.0"),
    "depth bool": (lambda: dmft.DeepLinear(True), TypeError, "depth must be an integer >= 1; got True"),
    "width negative": (lambda: dmft.DeepLinear(2, -1.0), ValueError, "width_ratio must be a number > 0 or math.inf; got -1.0"),
    "width nan": (lambda: dmft.DeepLinear(2, math.nan), ValueError, "width_ratio must be .*; got nan"),
    "width text": (lambda: dmft.DeepLinear(2, "12"), TypeError, "width_ratio must be .*; got '12'"),
    "width None": (lambda: dmft.DeepLinear(2, None), TypeError, "width_ratio must be .*; got None"),
    "width count": (lambda: dmft.DeepLinear(2, (1.0, 2.0, 3.0)), ValueError, r"width_ratio must be .*depth = 2\); got 3 numbers"),
    "width entry": (lambda: dmft.DeepLinear(2, (1.0, 0.0)), ValueError, r"width_ratio\[1\] must be .*; got 0.0"),
    "width partly infinite": (lambda: dmft.DeepLinear(2, (1.0, math.inf)), ValueError, r"width_ratio must be finite .* got \(1.0, inf\)"),
    "richness zero": (lambda: dmft.DeepLinear(2, richness=0), ValueError, "richness must be a finite number > 0; got 0"),
    "richness infinite": (lambda: dmft.DeepLinear(2, richness=math.inf), ValueError, "richness must be .*; got inf"),
    "richness array": (lambda: dmft.DeepLinear(2, richness=np.ones(2)), TypeError, "richness must be .*; got array"),
    "richness and NTK": (lambda: dmft.DeepLinear(2, richness=1.0, parameterization="ntk"), ValueError, "richness and .*got richness=1.0"),
    "outputs zero": (lambda: dmft.DeepLinear(2, outputs=0), ValueError, "outputs must be an integer >= 1; got 0"),
    "residual depth zero": (lambda: RESNET(0), ValueError, "depth must be an integer from 1 to 1000 or math.inf; got 0"),
    "residual depth float": (lambda: RESNET(2.0), TypeError, "depth must be an integer >= 1 or math.inf; got 2.0"),
    "residual depth bool": (lambda: RESNET(True), TypeError, "depth must be an integer >= 1 or math.inf; got True"),
    "residual widths": (lambda: RESNET(2, (1.0, 1.0)), TypeError, r"width_ratio must be a number > 0 or math.inf; got \(1.0, 1.0\)"),
    "branch scale zero": (lambda: RESNET(2, branch_scale=0), ValueError, "branch_scale must be a finite number > 0; got 0"),
    "depth exponent nan": (lambda: RESNET(2, depth_exponent=math.nan), ValueError, "depth_exponent must be a number from .*; got nan"),
    "infinite depth, exponent": (
        lambda: RESNET(math.inf, depth_exponent=1.0), ValueError, "depth_exponent must be 1/2 with depth=math.inf: .*; got 1"
    ),
    "branches grow": (lambda: RESNET(1000, depth_exponent=0), ValueError, r"branch_scale must be smaller: .* e\^347; got 1"),
    "residual richness and NTK": (
        lambda: RESNET(2, richness=1.0, parameterization="ntk"), ValueError, "richness and .*got richness=1.0"
    ),
    "parameterization": (lambda: dmft.DeepLinear(2, parameterization="sp"), ValueError, "parameterization must be .*'ntk'; got 'sp'"),
    "sample ratio zero": (lambda: dmft.GaussianData(0), ValueError, "sample_ratio must be a number > 0 or math.inf; got 0"),
    "sample ratio complex": (lambda: dmft.GaussianData(1j), TypeError, "sample_ratio must be .*; got 1j"),
    "noise negative": (lambda: dmft.GaussianData(1.0, -0.1), ValueError, "label_noise must be a finite number >= 0; got -0.1"),
    "overlap asymmetric": (lambda: dmft.GaussianData(target_overlap=[[1, 0.5], [0, 1]]), ValueError, "target_overlap must be sym.* 0.5"),
    "overlap indefinite": (lambda: dmft.GaussianData(target_overlap=[[1, 2], [2, 1]]), ValueError, "target_overlap must be pos.* -1"),
    "overlap ragged": (lambda: dmft.GaussianData(target_overlap=[[1], [1, 2]]), TypeError, "target_overlap must be a numeric array"),
    "noise covariance shape": (lambda: dmft.GaussianData(noise_covariance=[1.0]), ValueError, r"noise_covariance must .*\(1,\)"),
    "noise covariance nan": (lambda: dmft.GaussianData(noise_covariance=[[math.nan]]), ValueError, "noise_covariance must be finite.*nan"),
    "eigenvalue negative": (lambda: dmft.StructuredData([1.0, -1.0], [1, 1]), ValueError, "eigenvalues must .*-1"),
    "eigenvalues zero": (lambda: dmft.StructuredData([0.0], [1]), ValueError, "eigenvalues must .*0"),
    "eigenvalues empty": (lambda: dmft.StructuredData([], []), ValueError, r"eigenvalues must not be empty; got shape \(0,\)"),
    "target power length": (lambda: dmft.StructuredData([1.0, 2.0], [1.0]), ValueError, r"target_power must .*\(1,\)"),
    "target power negative": (lambda: dmft.StructuredData([1.0], [-1.0]), ValueError, "target_power.* must .*-1"),
    "multiplicity sum": (lambda: dmft.StructuredData([1.0, 2.0], [1, 1], [0.5, 0.4]), ValueError, "multiplicity must .*0.9"),
    "multiplicity negative": (lambda: dmft.StructuredData([1.0, 2.0], [1, 1], [1.5, -0.5]), ValueError, "multiplicity must be > 0.* -0.5"),
    "dataset x": (lambda: dmft.Dataset(np.ones(3), np.ones(3)), ValueError, r"x must be an array of shape \(P, D\); got shape \(3,\)"),
    "dataset y": (
        lambda: dmft.Dataset(np.ones((3, 2)), np.ones(4)),
        ValueError,
        r"y must be an array of shape \(3,\) or \(3, C\); got shape \(4,\)",
    ),
    "dataset nan": (lambda: dmft.Dataset([[math.nan]], [1.0]), ValueError, "x must be finite; got an array with inf or nan"),
    "from_dataset outputs": (lambda: dmft.StructuredData.from_dataset(np.eye(3), np.eye(3)), ValueError, r"y must have one .*\(3, 3\)"),
    "from_dataset ratio": (lambda: dmft.StructuredData.from_dataset(*PAIR, sample_ratio=-1), ValueError, "sample_ratio must .*; got -1"),
    "digits repeated": (lambda: dmft.datasets.digits((3, 3)), ValueError, r"classes must be .*; got \(3, 3\)"),
    "digits number": (lambda: dmft.datasets.digits(3), TypeError, "classes must be .*; got 3"),
    "rate zero": (lambda: GD(0.0, 5), ValueError, "learning_rate must be a finite number > 0; got 0.0"),
    "rate text": (lambda: GD("fast", 5), TypeError, "learning_rate must be .*; got 'fast'"),
    "rate count": (lambda: GD([0.1, 0.2], 5), ValueError, r"learning_rate must be .*steps = 5\); got 2 numbers"),
    "rate negative": (lambda: GD([0.1, -0.2], 2), ValueError, "learning_rate must be >= 0 at every step; the smallest given is -0.2"),
    "rate callable nan": (lambda: GD(lambda step: math.nan, 2), ValueError, "learning_rate must be finite; got .*nan"),
    "rate matrix": (lambda: GD(np.ones((2, 2)), 2), ValueError, r"learning_rate must be .*; got shape \(2, 2\)"),
    "steps zero": (lambda: GD(0.1, 0), ValueError, "steps must be an integer >= 1; got 0"),
    "steps float": (lambda: SGD(0.1, 1e3), TypeError, "steps must be an integer >= 1; got 1000.0"),
    "momentum one": (lambda: GD(0.1, 5, momentum=1.0), ValueError, r"momentum must be a number in \[0, 1\); got 1.0"),
    "nesterov number": (lambda: GD(0.1, 5, momentum=0.5, nesterov=1), TypeError, "nesterov must be True or False; got 1"),
    "nesterov alone": (lambda: GD(0.1, 5, nesterov=True), ValueError, "nesterov=True needs momentum > 0; got momentum=0.0"),
    "decay negative": (lambda: GD(0.1, 5, weight_decay=-1), ValueError, "weight_decay must be .*; got -1"),
    "decoupled alone": (lambda: GD(0.1, 5, decoupled=True), ValueError, "decoupled=True needs weight_decay > 0; got weight_decay=0.0"),
    "batch ratio infinite": (lambda: SGD(0.1, 5, batch_ratio=math.inf), ValueError, "batch_ratio must be a finite number > 0; got inf"),
    "batch fraction": (lambda: BATCHES(0.1, 5, batch_fraction=1.5), ValueError, r"batch_fraction must be a number in \(0, 1\]; got 1.5"),
}

#: solve, march, memory_estimate and simulate check a problem in the same way
PROBLEMS = {
    "network": ((2, DATA, RUN), TypeError, "network must be a DeepLinear or DeepLinearResNet or ShallowNet or .*; got int"),
    "data array": ((NET, np.ones((3, 2)), RUN), TypeError, "data must be a GaussianData or StructuredData; got ndarray"),
    "data set": ((NET, PAIR, RUN), TypeError, "data must be .*; got Dataset"),
    "training": ((NET, DATA, 0.1), TypeError, "training must be a GradientDescent or OnlineSGD or MinibatchSGD.*; got float"),
    "arguments exchanged": ((DATA, NET, RUN), TypeError, "network must be a DeepLinear or DeepLinearResNet or ShallowNet or .*; got GaussianData"),
    "two passes": ((NET, DATA, SGD(0.1, 5)), ValueError, "sample_ratio must be math.inf or at least .* = 5 .*; got 1.5"),
    "subsets of infinity": ((NET, dmft.GaussianData(), BATCHES(0.1, 5)), ValueError, "sample_ratio must be finite .*; got inf"),
    "overlap for other outputs": (
        (NET, dmft.GaussianData(target_overlap=np.eye(2)), RUN),
        ValueError,
        r"target_overlap must have shape \(1, 1\) .*outputs=1; got \(2, 2\)",
    ),
    "power for other outputs": (
        (NET, dmft.StructuredData([1.0], [np.eye(2)]), RUN),
        ValueError,
        r"target_power must .*outputs=1.*\(1, 2, 2\)",
    ),
}
TAKERS = {
    "solve": lambda *problem: dmft.solve(*problem),
    "march": lambda *problem: dmft.march(*problem),
    "memory_estimate": lambda *problem: dmft.memory_estimate(*problem),
    "simulate": lambda *problem: dmft.simulate(*problem, dim=10),
}

CALLS = {
    "method": (lambda **_: dmft.solve(NET, DATA, RUN, "euler"), ValueError, "method must be one of .*'fixed-point'.*; got 'euler'"),
    "progress": (lambda **_: dmft.solve(NET, DATA, RUN, progress="yes"), TypeError, "progress must be True or False; got 'yes'"),
    "memory limit": (lambda **_: dmft.solve(NET, DATA, RUN, memory_limit=-1), ValueError, "memory_limit must be .*; got -1"),
    "foreign option": (lambda **_: dmft.solve(NET, DATA, RUN, damping=0.5), TypeError, "damping is not an option of method 'causal'"),
    "damping": (lambda **_: dmft.solve(NET, DATA, RUN, "fixed-point", damping=2), ValueError, r"damping must be .*\(0, 1\]; got 2"),
    "window": (lambda **_: dmft.solve(NET, DATA, RUN, "fixed-point", window=0), ValueError, "window must be .*; got 0"),
    "out": (lambda **_: dmft.solve(NET, DATA, RUN, out=3), TypeError, "the file to write must be a path .*; got 3"),
    "march memory limit": (lambda **_: dmft.march(NET, DATA, RUN, memory_limit=1), ValueError, "memory_limit must cover the solve"),
    "dim missing": (lambda **_: dmft.simulate(NET, DATA, RUN), TypeError, "dim must be an integer >= 1; got None"),
    "dim zero": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=0), ValueError, "dim must be an integer >= 1; got 0"),
    "dim too small": (lambda **_: dmft.simulate(dmft.DeepLinear(1, 0.01), DATA, RUN, dim=9), ValueError, "dim must be .*; got dim = 9"),
    "seeds": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=9, seeds=0), ValueError, "seeds must be an integer >= 1; got 0"),
    "rng": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=9, rng="a"), TypeError, "rng must be .*; got 'a'"),
    "rng negative": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=9, rng=-1), ValueError, "rng must be .*; got -1"),
    "workers": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=9, workers=0), ValueError, "workers must be .*; got 0"),
    "infinite width": (lambda **_: dmft.simulate(WIDE, DATA, RUN, dim=9), ValueError, "width_ratio must .*; got inf"),
    "infinite depth": (lambda **_: dmft.simulate(RESNET(math.inf), DATA, RUN, dim=9), ValueError, "depth must be finite .*; got inf"),
    "infinite depth, flow": (
        lambda **_: dmft.solve(RESNET(math.inf), DATA, dmft.GradientFlow(1.0)),
        ValueError,
        "training must not be a GradientFlow at infinite depth",
    ),
    "infinite depth, method": (
        lambda **_: dmft.solve(RESNET(math.inf), DATA, RUN, "reference"),
        ValueError,
        "method must be 'causal' at infinite depth, .*; got 'reference'",
    ),
    "inputs": (lambda **_: dmft.simulate(NET, DATA, RUN, inputs=np.eye(3)), TypeError, "inputs must be a Dataset; got ndarray"),
    "inputs and dim": (lambda **_: dmft.simulate(NET, DATA, RUN, dim=5, inputs=PAIR), ValueError, "dim must be .*3 columns.*; got 5"),
    "compare trajectory": (lambda ens, **_: dmft.compare(ens, ens), TypeError, "trajectory must be a Trajectory; got LinearEnsemble"),
    "compare ensemble": (lambda traj, **_: dmft.compare(traj, traj), TypeError, "ensemble must be .*Ensemble.*; got LinearTrajectory"),
    "compare nothing": (lambda traj, **_: dmft.compare(traj, []), ValueError, "ensemble must be .*; got an empty sequence"),
    "compare level": (lambda traj, ens: dmft.compare(traj, ens, level=0), ValueError, "level must be a number between 0 and 0.5; got 0"),
    "compare dims": (lambda traj, ens: dmft.compare(traj, ens, dims=5), TypeError, "dims must be .*; got 5"),
    "save": (lambda traj, **_: traj.save(None), TypeError, "the file to write must be a path .*; got None"),
    "load missing": (lambda **_: dmft.load("missing.h5"), dmft.StorageError, "missing.h5 does not exist"),
    "load number": (lambda **_: dmft.load(3.5), TypeError, "path must be .*; got 3.5"),
    "resume missing": (lambda **_: dmft.resume("missing.h5", steps=9), dmft.StorageError, ".*missing.h5 does not exist"),
    "correlation name": (lambda traj, **_: traj.correlation("w"), ValueError, "name must be one of 'h', 'g', .*; got 'w'"),
    "correlation list": (lambda traj, **_: traj.correlation(["h"]), ValueError, r"name must be one of .*; got \['h'\]"),
    "response name": (lambda traj, **_: traj.response("x", layer=1), ValueError, "name must be one of .*response; got 'x'"),
    "layer missing": (lambda traj, **_: traj.correlation("h"), ValueError, "layer must be an integer from 1 to 2 for 'h'; got None"),
    "layer zero": (lambda traj, **_: traj.response("g", layer=0), ValueError, "layer must be .*; got 0"),
    "layer beyond": (lambda traj, **_: traj.response("g", layer=3), ValueError, "layer must be an integer from 1 to 2 for 'g'; got 3"),
    "layer of delta": (lambda traj, **_: traj.correlation("delta", layer=1), ValueError, "layer must be None for 'delta'.*; got 1"),
    "ensemble loss": (lambda ens, **_: ens.mean("loss"), ValueError, "name must be one of 'test_loss', 'train_loss'; got 'loss'"),
    "plot nothing": (lambda **_: dmft.plot.loss(), ValueError, "trajectory and ensemble are both None"),
    "plot which": (lambda traj, **_: dmft.plot.loss(traj, which="both"), ValueError, "which must be one of .*; got 'both'"),
    "plot number": (lambda **_: dmft.plot.loss(3), TypeError, "trajectory must be a Trajectory; got int"),
    "plot exchanged": (lambda traj, ens: dmft.plot.loss(ens, traj), TypeError, "trajectory must be a Trajectory; got LinearEnsemble"),
    "plot ensemble": (lambda traj, **_: dmft.plot.loss(traj, traj), TypeError, "ensemble must be an Ensemble; got LinearTrajectory"),
    "plot kernels": (lambda ens, **_: dmft.plot.kernels(ens), TypeError, "trajectory must be a LinearTrajectory.*; got LinearEnsemble"),
    "plot kernel name": (lambda traj, **_: dmft.plot.kernels(traj, names="w"), ValueError, "names must be one of .*; got 'w'"),
    "plot axes": (lambda traj, **_: dmft.plot.kernels(traj, names="h", axes=[None]), ValueError, "axes must hold 2 axes, .*; got 1"),
    "plot zscores": (
        lambda traj, **_: dmft.plot.zscores(traj),
        TypeError,
        "verdict must be a Verdict or FunctionVerdict; got LinearTrajectory",
    ),
    "plot deviations": (lambda ens, **_: dmft.plot.deviations(ens), TypeError, "verdict must be a Verdict or FunctionVerdict; got LinearE"),
    "plot agreement": (lambda ens, **_: dmft.plot.agreement(ens), TypeError, "verdict must be a Verdict or FunctionVerdict; got LinearE"),
    "plot overview": (lambda ens, **_: dmft.plot.overview(ens), TypeError, "trajectory must be a LinearTrajectory.*; got LinearEnsemble"),
}


#: Refused, but by an error from within; whoever makes them name the argument removes them here.


MASKED = np.ma.array([[1.0, 2.0], [999.0, 4.0]], mask=[[0, 0], [1, 0]])
#: What is no array of real numbers, by what it is; shape (2, 2).
NO_NUMBERS = {
    "masked": MASKED,
    "rows of masked arrays": list(MASKED),
    "complex": np.ones((2, 2), dtype=complex),
    "dates": np.zeros((2, 2), dtype="datetime64[D]"),
    "durations": np.ones((2, 2), dtype="timedelta64[s]"),
    "text": np.array([["1", "2"], ["3", "4"]]),
    "objects": np.array([[1.0, 2.0], [None, 3.0]]),
    "truth values": np.ones((2, 2), dtype=bool),
    "records": np.zeros((2, 2), dtype=[("a", float)]),
    "a set": {1.0, 2.0},
    "a generator": (v for v in (1.0, 2.0)),
    "an integer beyond doubles": [[1, 2], [3, 10**400]],
}
#: Every place that takes an array, as a function of a (2, 2) array.
ARRAYS = {
    "x": lambda a: dmft.Dataset(a, [1.0, 2.0]),
    "y": lambda a: dmft.Dataset(np.eye(2), a),
    "test_x": lambda a: dmft.Dataset(np.eye(2), [1.0, 2.0], test_x=a),
    "test_y": lambda a: dmft.Dataset(np.eye(2), np.eye(2), np.eye(2), a),
    "target_overlap": lambda a: dmft.GaussianData(target_overlap=a),
    "noise_covariance": lambda a: dmft.GaussianData(noise_covariance=a),
    "eigenvalues": lambda a: dmft.StructuredData(_first(a), [1.0, 1.0]),
    "target_power": lambda a: dmft.StructuredData([1.0, 1.0], _first(a)),
    "multiplicity": lambda a: dmft.StructuredData([1.0, 1.0], [1.0, 1.0], _first(a)),
    "learning_rate": lambda a: GD(_first(a), 2),
    "initial_function": lambda a: dmft.solve(dmft.ShallowNet("-1/2", "0"), SIGNS, GD(0.1, 2), initial_function=_first(a)),
    "width_ratio": lambda a: dmft.DeepLinear(2, _first(a)),
    "q_eta": lambda a: dmft.limits.shallow(rates="layer-wise").classify("-1/2", _first(a)),
    "b": lambda a: dmft.ABC((0, 0), _first(a), (0, 0)),
    "classes": lambda a: dmft.datasets.digits(_first(a)),
    "widths": lambda a: dmft.coordinate_check(dmft.DeepNet(2), SIGNS, GD(0.1, 2), widths=_first(a)),
    "preactivation_times": lambda a: dmft.solve(dmft.MLP(1), SIGNS, GD(0.1, 2), preactivation_times=_first(a)),
    "kernel_times": lambda a: dmft.simulate(dmft.MLP(1), SIGNS, GD(0.1, 2), width=8, track="kernels", kernel_times=_first(a)),
}
SIGNS = dmft.Dataset(np.eye(2), [1.0, -1.0])


def _first(values):
    """The row with the masked entry, or what else stands for one-dimensional values."""
    return values[1] if isinstance(values, (np.ndarray, list)) else values


#: Exact exponents may be text, or integers of any size.
EXACT = [(name, kind) for name in ("q_eta", "b") for kind in ("text", "an integer beyond doubles")]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in ARRAYS for kind in NO_NUMBERS if (name, kind) not in EXACT])
def test_arrays_are_of_real_numbers(name, kind):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}(\[\d\])? must [^\n]*$"):
        ARRAYS[name](NO_NUMBERS[kind])


def test_arrays_of_other_libraries_and_exact_numbers_are_taken():
    from fractions import Fraction

    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)

    assert np.array_equal(dmft.Dataset(Tensor(), [1, 2]).x, [[1.0, 2.0], [3.0, 4.0]])
    assert np.array_equal(dmft.Dataset(np.eye(2), [Fraction(1, 2), 2**70]).y, [0.5, 2.0**70])
    assert np.array_equal(dmft.Dataset(np.ma.array(np.eye(2)), [1, 2]).x, np.eye(2))


def _looped():
    loop = [1.0]
    loop.append(loop)
    return loop


#: Values that used to end in errors from within, or in none: the call, and the argument.
HOSTILE = {
    "integer beyond doubles": (lambda: dmft.MLP(1, richness=10**400), "richness"),
    "integer beyond text": (lambda: dmft.MLP(10**5000), "depth"),
    "steps beyond arrays": (lambda: GD(0.1, 10**400), "steps"),
    "array for a name": (lambda: dmft.limits.shallow(np.array(["mse", "hinge"])), "loss"),
    "list for a name": (lambda: dmft.parameterization(["mup"], 2), "name"),
    "list for a flag": (lambda: dmft.limits.deep(1, bounded_increments=np.ones(2)), "bounded_increments"),
    "type of a dictionary": (lambda: dmft.specification.from_dict({"type": ["MLP"]}), "type"),
    "no dictionary": (lambda: dmft.specification.from_dict([1]), "dictionary"),
    "dictionary without depth": (lambda: dmft.specification.from_dict({"type": "MLP"}), "MLP needs depth"),
    "a list in itself": (lambda: dmft.Dataset(_looped(), [1.0, 2.0]), "x"),
    "huge exponent": (lambda: dmft.ShallowNet("1e10000000", "0"), "q_sigma"),
    "huge fraction": (lambda: dmft.limits.shallow().classify("1/" + "9" * 10**5, "0"), "q_sigma"),
    "duration for steps": (lambda: GD(0.1, np.timedelta64(3, "D")), "steps"),
    "duration for a rate": (lambda: GD(np.timedelta64(3, "D"), 3), "learning_rate"),
    "endless ratios": (lambda: dmft.DeepLinear(2, __import__("itertools").count(1)), "width_ratio"),
    "depth without end": (lambda: dmft.DeepLinear(10**9), "depth"),
    "depth of a derivation": (lambda: dmft.parameterization("mup", 10**6), "depth"),
    "depth of limits": (lambda: dmft.limits.deep(50), "depth"),
    "outputs without end": (lambda: dmft.DeepNet(2, outputs=10**9), "outputs"),
    "callable of endless steps": (lambda: GD(lambda step: 0.1, 10**9), "learning_rate"),
    "callable that raises": (lambda: GD(lambda step: {}["rate"], 3), "learning_rate"),
    "steps beyond memory": (lambda: dmft.solve(dmft.MLP(1), SIGNS, GD(0.1, 10**12)), "memory_limit"),
    "samples beyond memory": (lambda: dmft.solve(dmft.MLP(1), SIGNS, GD(0.1, 2), samples=2**60), "memory_limit"),
    "error without end": (lambda: dmft.solve(dmft.MLP(1), SIGNS, GD(0.1, 2), mc_error=1e-12), "mc_error"),
    "width beyond powers": (lambda: dmft.solve(dmft.ShallowNet("-40", "40"), SIGNS, GD(0.1, 2), width=10**100), "width"),
    "richness below squares": (lambda: dmft.DeepLinear(2, richness=1e-150), "richness"),
    "inputs beyond squares": (lambda: dmft.Dataset(1e155 * np.eye(2), [1.0, 2.0]), "x"),
    "inputs below squares": (lambda: dmft.Dataset(1e-160 * np.eye(2), [1.0, 2.0]), "x"),
    "labels beyond squares": (lambda: dmft.Dataset(np.eye(2), [1e160, 2.0]), "y"),
    "variances beyond squares": (lambda: dmft.StructuredData.from_dataset(1e40 * np.eye(2), [1.0, 2.0]), "x"),
    "box": (lambda: dmft.parameterizations.stable_cut(2, box=0.1), "box"),
    "no axes": (lambda: dmft.plot.phase_diagram(dmft.limits.shallow(), ax=3), "ax"),
    "no limits": (lambda: dmft.plot.phase_diagram(3), "lim"),
    "null in a path": (lambda: dmft.problem_file.read("a\0b"), "path"),
    "long name": (lambda: dmft.datasets.read(300 * "x" + ".csv"), "file"),
    "long path": (lambda: dmft.problem_file.read(3000 * "x/" + "run.toml"), "path"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_end_in_one_line_that_names_the_argument(name):
    call, argument = HOSTILE[name]
    with pytest.raises((TypeError, ValueError), match=rf"^{argument}\b[^\n]*$") as raised:
        call()
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name):
    call, error, message = CONSTRUCTORS[name]
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_problems(name, taker):
    problem, error, message = PROBLEMS[name]
    with pytest.raises(error, match=f"^{message}"):
        TAKERS[taker](*problem)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name, traj, ens, tmp_path, monkeypatch):
    call, error, message = CALLS[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^{message}"):
        call(traj=traj, ens=ens)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (GD(0.05, 5), "steps|training"),
        (GD(0.06, 4), "learning_rate|training"),
        (GD(0.05, 4, momentum=0.5), "momentum|training"),
    ],
    ids=["steps", "rate", "momentum"],
)
def test_compare_wants_the_same_problem(training, message, ens):
    other = dmft.solve(NET, DATA, training, progress=False)
    with pytest.raises(ValueError, match=message):
        dmft.compare(other, ens)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(steps=2), ValueError, "steps must be an integer >= 4; got 2"),
        (dict(steps="9"), TypeError, "steps must be an integer >= 4; got '9'"),
        (dict(steps=9, learning_rate=0.1), ValueError, "learning_rate must agree with the stored one on the 4 steps already done"),
        (dict(steps=9, progress=0), TypeError, "progress must be True or False; got 0"),
        (dict(steps=9, memory_limit=10), ValueError, "memory_limit must cover the solve"),
    ],
    ids=["fewer steps", "steps text", "other rate", "progress", "memory limit"],
)
def test_resume(arguments, error, message, traj, tmp_path):
    path = tmp_path / "run.h5"
    traj.save(path)
    before = path.read_bytes()
    with pytest.raises(error, match=f"^{message}"):
        dmft.resume(path, **arguments)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_resume_wants_the_next_rates_of_a_schedule(tmp_path):
    dmft.solve(NET, DATA, GD([0.1, 0.05], 2), progress=False).save(tmp_path / "run.h5")
    with pytest.raises(ValueError, match="^learning_rate must be given to resume a schedule of 2 steps to steps=3"):
        dmft.resume(tmp_path / "run.h5", steps=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dmft.solve(dmft.DeepLinear(1), dmft.GaussianData(), GD(9.0, 9), progress=False), "diverged at step"),
        (lambda: dmft.solve(NET, DATA, RUN, "reference", progress=False), "was solved by 'reference'"),
    ],
    ids=["diverged", "other method"],
)
def test_resume_wants_a_march_that_can_go_on(call, message, tmp_path):
    call().save(tmp_path / "run.h5")
    with pytest.raises(ValueError, match=f"^path must hold a trajectory .*{message}"):
        dmft.resume(tmp_path / "run.h5", steps=20)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'dmft' has no attribute 'slove'"):
        dmft.slove
