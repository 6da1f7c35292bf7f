"""Mutants of problem files, read and then solved or simulated: ``python tests/fuzz_problem_files.py --count 2000 --seed 0``."""

import math
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import fuzzing

_RUN = {"type": "GradientDescent", "learning_rate": 0.1, "steps": 3}
_DIGITS = {"type": "digits", "classes": [3, 8], "samples": 4, "test_samples": 2}
#: Right problems, small; every table and kind of network.
PROBLEMS = [
    {
        "network": {"type": "DeepLinear", "depth": 2, "width_ratio": [1.0, 2.0], "richness": 0.5, "outputs": 1},
        "data": {"type": "GaussianData", "sample_ratio": 2.0, "label_noise": 0.3, "target_overlap": [[1.0]]},
        "training": _RUN | {"momentum": 0.5, "nesterov": True, "weight_decay": 0.01, "decoupled": True},
        "solve": {"method": "fixed-point", "window": 2, "tolerance": 1e-8, "max_sweeps": 50, "damping": 1.0, "anderson": 0},
        "simulate": {"dim": 10, "seeds": 2, "rng": 0, "workers": 1},
    },
    {
        "network": {"type": "DeepLinear", "depth": 1, "width_ratio": 1.0, "parameterization": "ntk"},
        "data": {
            "type": "StructuredData",
            "eigenvalues": [1.0, 0.5],
            "target_power": [1.0, 0.0],
            "multiplicity": [0.5, 0.5],
            "sample_ratio": 2.0,
        },
        "training": {"type": "MinibatchSGD", "learning_rate": [0.1, 0.2], "steps": 2, "batch_fraction": 0.5, "batch_seed": 1},
        "simulate": {"dim": 10, "seeds": 2},
    },
    {
        "network": {"type": "DeepLinear", "depth": 1, "width_ratio": math.inf},
        "data": {"type": "digits", "classes": [3, 8], "sample_ratio": 2.0},
        "training": {"type": "OnlineSGD", "learning_rate": 0.1, "steps": 2, "batch_ratio": 0.5},
        "solve": {"method": "causal"},
    },
    {
        "network": {"type": "MLP", "depth": 2, "activation": "leaky_relu", "negative_slope": 0.2, "richness": 1.0, "outputs": 1},
        "data": _DIGITS | {"norm": 8.0, "flipped": 0.25, "seed": 1},
        "training": _RUN,
        "solve": {
            "loss": "logistic",
            "samples": 64,
            "replicas": 2,
            "tolerance": 0.01,
            "track": "kernels",
            "rng": 1,
            "preactivation_times": [0, 3],
        },
        "simulate": {"width": 16, "seeds": 2, "loss": "logistic", "center": True, "track": "kernels", "kernel_times": [0, 3]},
    },
    {
        "network": {"type": "DeepNet", "depth": 2, "parameterization": "ip-llr", "activation": "relu", "weight_scale": 1.4, "outputs": 3},
        "data": {"type": "digits", "classes": [4, 9, 1], "samples": 4, "seed": 0, "norm": 1.0},
        "training": _RUN | {"learning_rate": [6.0, 0.2, 0.2]},
        "solve": {"loss": "softmax", "samples": 512, "rng": 0},
        "simulate": {"width": 16, "seeds": 2, "loss": "softmax", "track": "coordinates"},
        "coordinate_check": {"widths": [8, 16, 32], "seeds": 2, "steps": [0, 1], "threshold": 4.0, "loss": "softmax"},
    },
    {
        "network": {"type": "DeepNet", "depth": 1, "parameterization": {"type": "ABC", "a": [0, "1/2"], "b": [0, 0], "c": [0, 0]}},
        "data": _DIGITS,
        "training": _RUN,
        "simulate": {"width": 16, "seeds": 1},
    },
    {
        "network": {"type": "ShallowNet", "q_sigma": "-1/2", "q_eta": ["1", "0"], "reference_width": 64, "sigma": 0.1},
        "data": _DIGITS,
        "training": _RUN,
        "solve": {"loss": "logistic", "width": 16, "samples": 64, "track": "kernels"},
        "simulate": {"width": 16, "seeds": 2, "track": "kernels", "allow_unstable": False},
    },
    {
        "network": {"type": "ShallowNet", "q_sigma": -1, "q_eta": 1, "activation": "tanh", "corrected": True},
        "data": {"type": "Dataset", "x": [[1.0, 0.5], [0.2, -1.0]], "y": [1.0, -1.0], "test_x": [[0.3, 0.3]], "test_y": [1.0]},
        "training": _RUN,
        "solve": {"samples": 64, "loss": "mse"},
    },
]
VALUES = [
    *(
        0,
        1,
        -1,
        2,
        7,
        10**9,
        10**12,
        2**63,
        10**400,
        0.0,
        -0.0,
        0.5,
        -1.5,
        math.nan,
        math.inf,
        -math.inf,
        1e-320,
        1e-160,
        1e-60,
        1e60,
        1e160,
    ),
    *("", "a", "inf", "nan", "1/0", "1e10000000", "causal", "mse", "é", "a\0b", "x" * 10**4, "mup", "../run.toml", True, False),
    *([], [[]], [1], [1.0, 2.0], [1, "a"], [[1.0], [1.0, 2.0]], [math.nan], [True], ["a", "b"], [0] * 200, [[1.0, 0.0], [0.0, 1.0]]),
    *({}, {"type": "ABC"}, {"type": "MLP", "depth": 1}, {"type": ["a"]}, {"type": 3}, {"a": {"b": {}}}),
]
#: Values of dates and times, which TOML has; an integer and nested arrays beyond what its reader takes.
RAW = ["2020-01-01", "2020-01-01T07:32:00Z", "07:32:00", "9" * 5000, "[" * 3000 + "]" * 3000, "0xf", "1_000", "'''\n'''"]


class _Raw(str):
    """Text that stands in the file as it is."""


def _toml(value):
    if isinstance(value, _Raw):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(str(value), repr(value))
    if isinstance(value, str):
        return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    return str(value)


def _text(tables):
    return "\n".join(f"{_toml(str(name))} = {_toml(table)}" for name, table in tables.items())


def _mutated(rng, problem):
    """Text of a problem file with one to three changes, of values and keys or of its bytes."""
    tables = {name: dict(table) for name, table in problem.items()}
    notes = []
    for _ in range(1 + (rng.random() < 0.3) + (rng.random() < 0.1)):
        holders = [table for table in tables.values() if isinstance(table, dict) and table]
        table = holders[rng.integers(len(holders))] if rng.random() < 0.95 else tables
        key, kind = list(table)[rng.integers(len(table))], rng.random()
        if kind < 0.75:
            table[key] = _Raw(RAW[rng.integers(len(RAW))]) if rng.random() < 0.1 else VALUES[rng.integers(len(VALUES))]
            if isinstance(problem.get(key), float) or (isinstance(table, dict) and rng.random() < 0.2):
                table[key] = float(10.0 ** rng.integers(-200, 200))
            notes.append(f"{key} = {str(table[key])[:60]!r}")
        elif kind < 0.87:
            del table[key]
            notes.append(f"without {key}")
        else:
            name = ("unknown", key.upper(), "outputs", "loss", "images", "dims", "inputs", "progress", "out", "type")[rng.integers(10)]
            table[name] = VALUES[rng.integers(len(VALUES))]
            notes.append(f"{name} = {str(table[name])[:60]!r} added")
    text = _text(tables).encode()
    if rng.random() < 0.1:
        at = int(rng.integers(len(text)))
        text = text[:at] + bytes(rng.integers(0, 256, int(rng.integers(0, 4))).tolist()) + text[at + int(rng.integers(0, 4)) :]
        notes.append(f"bytes at {at}")
    return text, "; ".join(notes)


def make():
    """The callable that makes a case."""
    import dmft
    from dmft import problem_file

    for right in PROBLEMS:  # compiles what they need, without a limit of time
        Path("run.toml").write_text(_text(right), encoding="utf-8")
        stated = problem_file.read("run.toml")
        dmft.solve(stated.problem, progress=False)
    names = {
        "path",
        "table",
        "dictionary",
        "images",
        "dims",
        "inputs",
        "classes",
        "out",
        "loss",
        "rng",
        "workers",
        "method",
        "type",
        "field",
    }
    names |= {name for stated in PROBLEMS for table in stated.values() for name in table} | {name for stated in PROBLEMS for name in stated}
    names |= {
        "test_x",
        "test_y",
        "momentum",
        "weight_decay",
        "initial_function",
        "mc_error",
        "memory_limit",
        "activation",
        "c_later",
        "unknown",
    }

    def case(rng):
        which = int(rng.integers(len(PROBLEMS)))
        text, note = _mutated(rng, PROBLEMS[which])

        def run():
            Path("run.toml").write_bytes(text)
            stated = problem_file.read("run.toml")
            problem = stated.problem
            if stated.coordinate_check and rng.random() < 0.5:
                return dmft.coordinate_check(problem.network, problem.data, problem.training, progress=False, **stated.coordinate_check)
            if stated.simulate and rng.random() < 0.5:
                return dmft.simulate(stated.problem, progress=False, **stated.simulate)
            return dmft.solve(stated.problem, progress=False, memory_limit=1e9)

        return f"{which}: {note}", run, names

    return case


if __name__ == "__main__":
    sys.exit(fuzzing.main(make))
