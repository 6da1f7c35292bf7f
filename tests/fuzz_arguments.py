"""Mutants of the arguments of everything public: ``python tests/fuzz_arguments.py --count 2000 --seed 0``."""

import datetime
import decimal
import fractions
import itertools
import math
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import fuzzing

NAN, INF = math.nan, math.inf


def _self_referential():
    loop = [1.0]
    loop.append(loop)
    return loop


def _raising(*_):
    raise RuntimeError("of the user's function")


class _Odd:
    """An object whose every way of being looked at fails."""

    def __array__(self, *_, **__):
        raise RuntimeError("no array")

    def __repr__(self):
        raise RuntimeError("no text")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __len__(self):
        raise RuntimeError("no length")

    __hash__ = None


#: Values that no argument expects, made anew for each case.
POOL = [
    *(lambda v=v: v for v in (None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, 10**9, 10**12, 10**400, -(10**400), 10**5000)),
    *(lambda v=v: v for v in (0.0, -0.0, 0.5, 1.5, -1.0, NAN, INF, -INF, 1e-320, 1e-160, 1e-60, 1e60, 1e160, 1e308)),
    *(lambda v=v: v for v in (1j, np.float32(0.1), np.float64(NAN), np.int8(3), np.bool_(True), np.longdouble("1e400"), np.uint64(2**63))),
    *(lambda v=v: v for v in ("", "a", "0", "nan", "1e10000000", "1/0", "a\0b", "é", "x" * 10**5, "inf", "-1/2", "mup", "kernels", b"ab")),
    *(lambda v=v: v for v in (decimal.Decimal("0.1"), fractions.Fraction(1, 3), fractions.Fraction(10**400, 3), ..., NotImplemented, int)),
    *(lambda v=v: v for v in (datetime.date(2020, 1, 1), np.datetime64("2020-01-01"), np.timedelta64(3, "D"))),
    *(
        lambda v=v: v
        for v in ([], (), {}, set(), [[]], [1.0], [1, 2], (0.5, 1.5), [1, [2, 3]], [None], ["a", "b"], {"a": 1}, {1, 2}, [True, False])
    ),
    *(
        lambda v=v: v
        for v in ([10**400], [1j, 2], [NAN], [[1.0, NAN]], range(3), range(0), frozenset(), memoryview(b"abc"), bytearray(b"ab"))
    ),
    lambda: (v for v in (1, 2)),
    itertools.count,
    _self_referential,
    _Odd,
    object,
    lambda: lambda step: 0.1,
    lambda: _raising,
    lambda: lambda step: "fast",
    lambda: lambda step: np.ones(2),
    lambda: np.array(0.1),
    lambda: np.zeros((2, 0)),
    lambda: np.ones(3),
    lambda: np.eye(2),
    lambda: np.ones((2, 2, 2)),
    lambda: np.array(["a", "b"]),
    lambda: np.array([1.0, None]),
    lambda: np.array([1, 2], dtype="datetime64[D]"),
    lambda: np.ones(2, dtype=complex),
    lambda: np.ma.masked,
    lambda: np.ma.array([1.0, 999.0], mask=[False, True]),
    lambda: [np.ma.array([1.0, 999.0], mask=[False, True]), np.ma.array([1.0, 2.0])],
    lambda: np.zeros(2, dtype=[("a", float)]),
    lambda: np.array([1e-200, 1e200]),
    lambda: Path("folder"),
    lambda: np.random.default_rng(0),
    lambda: np.random.SeedSequence(0),
]


def _array_mutants(value):
    """Mutants of an array that is right."""
    masked = np.ma.array(value, mask=np.zeros(value.shape, bool))
    masked.mask.flat[0] = True
    broken = value.astype(float)
    broken.flat[-1] = NAN
    scaled = [10.0**k * value for k in (-160, -100, -40, -9, 9, 40, 100, 150)]
    return [
        masked,
        broken,
        value.astype(complex),
        value.astype(object),
        value.astype(str),
        value.astype("timedelta64[s]"),
        value > 0,
        value[..., None],
        value[:0],
        value[:1],
        np.zeros_like(value),
        value.tolist(),
        list(map(tuple, value)) if value.ndim == 2 else tuple(value),
        value.astype(np.float32),
        np.asfortranarray(value)[::-1],
        *scaled,
    ]


def _mutant(rng, value):
    """Another value in place of one that is right."""
    if isinstance(value, np.ndarray) and rng.random() < 0.7:
        mutants = _array_mutants(value)
    elif isinstance(value, float) and rng.random() < 0.4:
        mutants = [10.0**k * value for k in (-300, -160, -60, -40, -9, 9, 40, 60, 160, 300)] + [
            -value,
            str(value),
            np.array(value),
            [value],
        ]
    elif isinstance(value, str) and rng.random() < 0.3:
        mutants = [value.upper(), value + "\0", [value], value.encode(), np.array([value]), np.str_(value)]
    else:
        return POOL[rng.integers(len(POOL))]()
    return mutants[rng.integers(len(mutants))]


def calls():
    """(title, function, arguments that are right), made once in the worker."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    import dmft
    from dmft import datasets, limits, plot
    from dmft.parameterizations import stable_cut
    from dmft.specification import from_dict

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), np.array([1.0, -1, 1, 1, -1, -1])
    data, column = dmft.Dataset(x[:4], y[:4], x[4:], y[4:]), dmft.Dataset(x[:4], y[:4, None])
    gaussian, run = dmft.GaussianData(2.0, 0.1), dmft.GradientDescent(0.1, 2)
    linear, mlp, deep, shallow = dmft.DeepLinear(2), dmft.MLP(2, "tanh"), dmft.DeepNet(2, "mup"), dmft.ShallowNet("-1/2", "0")
    networks = {
        "DeepLinear": (linear, gaussian, {}, {"dim": 8, "inputs": None}),
        "MLP": (
            mlp,
            data,
            {
                "loss": "mse",
                "samples": 64,
                "rng": 0,
                "replicas": 2,
                "mc_error": None,
                "tolerance": 0.01,
                "track": "kernels",
                "preactivation_times": (0,),
            },
            {"width": 8, "loss": "mse", "center": True, "track": "kernels", "kernel_times": (0, 1)},
        ),
        "DeepNet": (
            deep,
            data,
            {"loss": "mse", "samples": 512, "rng": 0, "initial_function": None},
            {"width": 8, "loss": "mse", "track": None},
        ),
        "ShallowNet": (
            shallow,
            data,
            {"loss": "logistic", "width": 16, "samples": 64, "rng": 0, "initial_function": np.ones(6), "track": "kernels"},
            {"width": 8, "loss": "logistic", "track": "kernels", "allow_unstable": False},
        ),
    }
    all_data = (data, column, gaussian, dmft.StructuredData([1.0, 2.0], [1.0, 0.5]))
    all_runs = (run, dmft.OnlineSGD(0.1, 2), dmft.MinibatchSGD(0.1, 2), dmft.GradientDescent(0.1, 2, momentum=0.5))
    others = {"network": tuple(n for n, *_ in networks.values()), "data": all_data, "training": all_runs}
    solved = {name: dmft.solve(net, d, run, progress=False, **o) for name, (net, d, o, _) in networks.items()}
    trained = {name: dmft.simulate(net, d, run, seeds=2, progress=False, **o) for name, (net, d, _, o) in networks.items()}
    solved["DeepLinear"].save("stored.h5")
    lim, deep_limits = limits.shallow(), limits.deep(2, "layer-wise")
    mf = dmft.ShallowNet.mean_field()
    constructors = [
        (dmft.DeepLinear, dict(depth=2, width_ratio=1.5, richness=1.0, outputs=1, parameterization="mup")),
        (dmft.DeepLinear, dict(depth=2, width_ratio=(1.0, 2.0))),
        (dmft.MLP, dict(depth=2, activation="leaky_relu", richness=1.0, outputs=2, negative_slope=0.1)),
        (dmft.DeepNet, dict(depth=2, parameterization="mup", activation="leaky_relu", negative_slope=0.1, weight_scale=1.0, outputs=1)),
        (
            dmft.ShallowNet,
            dict(q_sigma="-1/2", q_eta="0", activation="tanh", negative_slope=None, reference_width=64, sigma=0.1, corrected=False),
        ),
        (dmft.ShallowNet, dict(q_sigma=-0.5, q_eta=("1", "0"))),
        (dmft.Activation, dict(phi=np.tanh, dphi=lambda h: 1 - np.tanh(h) ** 2, d2phi=None, name="own")),
        (dmft.GaussianData, dict(sample_ratio=2.0, label_noise=0.1, target_overlap=np.eye(2), noise_covariance=np.eye(2))),
        (
            dmft.StructuredData,
            dict(eigenvalues=np.ones(3), target_power=np.ones(3), multiplicity=np.full(3, 1 / 3), sample_ratio=2.0, label_noise=0.1),
        ),
        (dmft.StructuredData.from_dataset, dict(x=x, y=y, sample_ratio=2.0)),
        (dmft.Dataset, dict(x=x[:4], y=y[:4], test_x=x[4:], test_y=y[4:])),
        (dmft.Dataset, dict(x=x, y=x)),
        (dmft.GradientDescent, dict(learning_rate=0.1, steps=3, momentum=0.5, nesterov=True, weight_decay=0.1, decoupled=True)),
        (dmft.GradientDescent, dict(learning_rate=np.full(3, 0.1), steps=3)),
        (dmft.GradientDescent, dict(learning_rate=lambda step: 0.1 / (1 + step), steps=3)),
        (dmft.OnlineSGD, dict(learning_rate=0.1, steps=3, batch_ratio=1.0)),
        (dmft.MinibatchSGD, dict(learning_rate=0.1, steps=3, batch_fraction=0.5, batch_seed=0)),
        (dmft.ABC, dict(a=(0, "1/2", "1/2"), b=(0, 0, 0), c=(0, 0, 0), c_later=(0, 0, 0), bias_b=(0, None, 0), bias_c=(0, 0, 0))),
        (from_dict, dict(dictionary={"type": "DeepLinear", "depth": 2})),
    ]
    derived = [
        (dmft.parameterization, dict(name="ip-llr", depth=2, degree="1")),
        (dmft.parameterization, dict(name="sp", depth=2, rate="1")),
        (dmft.parameterization("mup", 2).rescaled, dict(theta="1/2")),
        (dmft.parameterization("mup", 2).analyze, dict(activation="relu")),
        (stable_cut, dict(depth=2, plane="standard", box=((-1, 2), (-2, 2)))),
        (limits.shallow, dict(loss="logistic", rates="common")),
        (limits.deep, dict(depth=2, rates="common", loss="logistic", identify_random_features=True, bounded_increments=False)),
        (lim.classify, dict(q_sigma="-1/2", q_eta="0")),
        (lim.violation, dict(q_sigma="-1/2", q_eta="1")),
        (deep_limits.classify, dict(q_sigma="-1/2", q_eta=("0", "0", "0"))),
        (lim.__getitem__, dict(name="M1")),
        (datasets.digits, dict(classes=(3, 8))),
        (datasets.binary_digits, dict(classes=(3, 8), samples=4, test_samples=2, flipped=0.1, seed=0, norm=1.0)),
        (datasets.one_hot_digits, dict(classes=(3, 8, 1), samples=4, test_samples=2, seed=0, norm=1.0)),
    ]
    results = [
        (
            dmft.compare,
            dict(trajectory=solved["DeepLinear"], ensemble=trained["DeepLinear"], dims=None, threshold=4.0, progress=False, workers=1),
        ),
        (dmft.compare, dict(trajectory=solved["MLP"], ensemble=trained["MLP"], dims=None, threshold=4.0, progress=False)),
        (
            dmft.coordinate_check,
            dict(
                network=deep,
                data=data,
                training=run,
                widths=(8, 16, 32),
                seeds=2,
                rng=0,
                loss="mse",
                steps=(0, 1),
                threshold=4.0,
                progress=False,
            ),
        ),
        (
            dmft.width_exponents,
            dict(
                network=mf,
                data=data,
                training=run,
                widths=(8, 16),
                seeds=2,
                rng=0,
                loss="logistic",
                quantities=("logits",),
                step=1,
                progress=False,
            ),
        ),
        (dmft.load, dict(path="stored.h5")),
        (dmft.resume, dict(path="stored.h5", steps=3, learning_rate=0.1, activation=None, progress=False, memory_limit=1e9)),
        (solved["DeepLinear"].save, dict(path="other.h5")),
        (solved["DeepLinear"].correlation, dict(name="h", layer=1)),
        (solved["DeepLinear"].response, dict(name="g", layer=2)),
        (solved["MLP"].feature_kernel, dict(layer=1, test=False)),
        (solved["MLP"].gradient_kernel, dict(layer=1, test=False)),
        (solved["MLP"].alignment, dict(kernel="tangent")),
        (trained["MLP"].feature_kernel, dict(layer=1)),
        (trained["MLP"].alignment, dict(kernel="tangent")),
        (trained["DeepNet"].mean, dict(name="train_loss")),
        (trained["DeepLinear"].standard_error, dict(name="test_loss")),
    ]
    figures = [
        (plot.loss, dict(trajectory=solved["DeepLinear"], ensemble=trained["DeepLinear"], ax=None, which=("test",))),
        (plot.kernels, dict(trajectory=solved["MLP"], names=("features",), axes=None)),
        (plot.predictions, dict(trajectory=solved["ShallowNet"], ensemble=trained["ShallowNet"], ax=None, points=2)),
        (plot.logits, dict(trajectory=solved["DeepNet"], ensemble=trained["DeepNet"], ax=None)),
        (plot.tangent_kernel, dict(trajectory=solved["ShallowNet"], axes=None)),
        (plot.overview, dict(trajectory=solved["DeepNet"])),
        (plot.phase_diagram, dict(lim=lim, ax=None)),
    ]

    def drawn(function):
        def draw(**arguments):
            try:
                function(**arguments)
            finally:
                plt.close("all")

        return draw

    listed = [(f.__qualname__, f, a) for f, a in constructors + derived + results]
    listed += [(f"plot.{f.__name__}", drawn(f), a) for f, a in figures]
    for name, (network, its_data, options, simulated) in networks.items():
        problem = {"network": network, "data": its_data, "training": run}
        listed.append(
            (f"solve {name}", dmft.solve, problem | {"method": "causal", "progress": False, "out": None, "memory_limit": 1e9} | options)
        )
        listed.append((f"simulate {name}", dmft.simulate, problem | {"seeds": 1, "rng": 0, "progress": False, "workers": 1} | simulated))
    listed += [
        (
            "solve fixed-point",
            dmft.solve,
            {"network": linear, "data": gaussian, "training": run, "method": "fixed-point", "progress": False}
            | {"window": 2, "tolerance": 1e-6, "max_sweeps": 50, "damping": 1.0, "anderson": 0},
        ),
        (
            "solve MLP fixed-point",
            dmft.solve,
            {"network": mlp, "data": data, "training": run, "method": "fixed-point", "progress": False}
            | {"samples": 64, "tolerance": 0.01, "max_sweeps": 50, "damping": 0.7},
        ),
        ("memory_estimate", dmft.memory_estimate, {"network": mlp, "data": data, "training": run, "method": "causal", "samples": 64}),
    ]
    return listed, others


#: Names that messages have for arguments, or for parts of them.
_ALIASES = {"Trajectory.save": {"the file to write"}, "from_dict": {"type", "field", "fields", "depth"}, "resume": {"the file to write"}}


def make():
    """The callable that makes a case."""
    listed, others = calls()
    of_problems = {name for title, _, arguments in listed if title[0].isupper() for name in arguments}

    def case(rng):
        title, function, right = listed[rng.integers(len(listed))]
        arguments, changed = dict(right), {}
        for name in rng.choice(list(right), 1 + (len(right) > 1 and rng.random() < 0.2), replace=False):
            alternatives = others.get(name, ()) if rng.random() < 0.5 else ()
            changed[name] = alternatives[rng.integers(len(alternatives))] if alternatives else _mutant(rng, right[name])
        arguments |= changed
        text = ", ".join(f"{name}={_shown(value)}" for name, value in changed.items())
        names = set(right) | (of_problems if "trajectory" in right or "data" in right else set())
        return f"{title}({text})", lambda: function(**arguments), names | _ALIASES.get(title, set())

    return case


def _shown(value):
    try:
        return " ".join(repr(value).split())[:150]
    except Exception:
        return f"<{type(value).__name__}>"


if __name__ == "__main__":
    sys.exit(fuzzing.main(make))
