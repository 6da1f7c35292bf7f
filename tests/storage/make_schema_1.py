"""Made the files schema-1-*.h5, which every later version must read. Not to be run again: the files are kept.

schema-1-sums.json holds the sum of every array, as the version that wrote the files read it back.
"""

import json
from pathlib import Path

import numpy as np

import dmft

HERE = Path(__file__).parent
X = np.random.default_rng(1).standard_normal((6, 5))
SPIN = np.array([1.0, -1.0, 1.0, -1.0])
TWO_CLASSES = dmft.Dataset(X[:4] / np.linalg.norm(X[:4], axis=1, keepdims=True), SPIN, X[4:], SPIN[:2])
TWO_OUTPUTS = dmft.Dataset(X[:3], np.stack([SPIN, SPIN[::-1] / 2], axis=1)[:3], X[4:5], SPIN[None, :2])


def deep_linear():
    problem = (
        dmft.DeepLinear(depth=1, width_ratio=2.0, richness=0.8, outputs=2),
        dmft.GaussianData(sample_ratio=1.5, label_noise=0.2, target_overlap=[[1.0, 0.3], [0.3, 0.7]]),
        dmft.GradientDescent(learning_rate=lambda step: 0.2 / (1 + step), steps=6, momentum=0.5),
    )
    return problem, {}, {"dim": 20}


def shallow():
    network = dmft.ShallowNet.mean_field(activation="leaky_relu", negative_slope=0.1)
    return (network, TWO_CLASSES, dmft.GradientDescent(1.0, 3)), {"samples": 64, "track": "kernels"}, {"width": 16, "track": "kernels"}


def deep():
    network = dmft.DeepNet(depth=2, parameterization="mup", activation="tanh")
    return (network, TWO_CLASSES, dmft.GradientDescent(0.1, 3)), {"samples": 512}, {"width": 16, "track": "coordinates"}


def mlp():
    problem = dmft.MLP(depth=2, activation="tanh", outputs=2), TWO_OUTPUTS, dmft.GradientDescent(0.2, 3)
    return problem, {"samples": 96}, {"width": 16, "track": "kernels", "kernel_times": (0, 3)}


def perturbative():
    problem = dmft.MLP(depth=2, activation="linear"), TWO_CLASSES, dmft.GradientDescent(0.2, 3)
    return problem, {"method": "perturbative"}, None


if __name__ == "__main__":
    for make in (deep_linear, shallow, deep, mlp, perturbative):
        problem, solving, training = make()
        name = f"schema-1-{make.__name__.replace('_', '-')}"
        dmft.solve(*problem, progress=False, **solving).save(HERE / f"{name}-trajectory.h5")
        if training is not None:
            dmft.simulate(*problem, seeds=2, rng=1, progress=False, **training).save(HERE / f"{name}-ensemble.h5")
    sums = {file.name: {name: float(array.sum()) for name, array in dmft.load(file).arrays().items()} for file in sorted(HERE.glob("*.h5"))}
    (HERE / "schema-1-sums.json").write_text(json.dumps(sums, indent=1) + "\n")
