"""The first run of a new user: two small problems from statement to verdict, files and figure, in under a minute."""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import dmft

from . import terminal

CLASSES = (3, 8)
NETWORK = dmft.DeepLinear(depth=2, width_ratio=1.0)


def run(folder):
    """Solve, simulate and compare, on isotropic data and on digits; write HDF5 files and a figure to `folder`, and print what is found.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist; results of an earlier run are replaced.
    """
    start, out = time.perf_counter(), terminal.console()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def echo(text):
        terminal.prose(out, text.splitlines())

    echo("Isotropic Gaussian data: theory (compiled on first use), then 16 networks of input dimension 400\n")
    isotropic, networks = isotropic_data()
    echo(f"{isotropic}\n\n{dmft.compare(isotropic, networks)}\n")

    echo(f"Digits {CLASSES[0]} and {CLASSES[1]}: the theory sees only the covariance and the linear target of the 8 x 8 images\n")
    digits, ensembles = digits_data()
    echo("(networks - theory) / theory, mean over steps ± standard error")
    terminal.show(out, ("trained on", "networks", "outcome", "max |z|", "test loss", "train loss"), agreement(digits, ensembles), right=True)
    echo("Gaussian inputs differ from the theory by finite size alone, images also by what covariance and linear target do not say.\n")

    files = {
        "isotropic.h5": isotropic.save,
        "digits.h5": digits.save,
        "quickstart.png": three_panels((isotropic, networks), (digits, ensembles)).savefig,
    }
    echo("Written:")
    for name, write in files.items():
        write(folder / name)
        echo(f"  {folder / name}")
    echo(f"in {time.perf_counter() - start:.0f} s")


def isotropic_data():
    """Trajectory and ensemble at alpha = 2 with label noise."""
    problem = NETWORK, dmft.GaussianData(sample_ratio=2.0, label_noise=0.3), dmft.GradientDescent(learning_rate=0.05, steps=80)
    return dmft.solve(*problem), dmft.simulate(*problem, dim=400, seeds=16)


def digits_data():
    """Trajectory for the covariance of the digits, and ensembles by name: trained on the images, and on Gaussian inputs in their place."""
    images = dmft.datasets.digits(CLASSES)
    data = dmft.StructuredData.from_dataset(images.x, images.y, sample_ratio=2.0)
    problem = NETWORK, data, dmft.GradientDescent(learning_rate=0.02, steps=80)
    return dmft.solve(*problem), {
        "images, D = 64": dmft.simulate(*problem, inputs=images, seeds=128),
        "Gaussian inputs, D = 64": dmft.simulate(*problem, dim=64, seeds=128),
        "Gaussian inputs, D = 320": dmft.simulate(*problem, dim=320, seeds=32),
    }


def agreement(trajectory, ensembles):
    """Rows of the outcome, the largest |z| and the mean deviation of each ensemble from the theory, whatever they are."""
    rows = []
    for name, ensemble in ensembles.items():
        verdict = dmft.compare(trajectory, ensemble)
        deviations = (_percent(loss.relative_error, loss.standard_error / loss.theory) for loss in (verdict.test, verdict.train))
        rows.append((name, str(ensemble.seeds), verdict.outcome, f"{verdict.max_abs_z:.1f}", *deviations))
    return rows


def _percent(deviations, errors):
    return f"{100 * np.mean(deviations):+.1f} ± {100 * np.mean(errors):.1f} %"


def three_panels(isotropic, digits):
    """Losses of theory and networks in three panels: isotropic data, Gaussian inputs with the covariance of the digits, the digits."""
    trajectory, ensembles = digits
    panels = {
        "isotropic data, $D = 400$": isotropic,
        "covariance of digits, $D = 320$": (trajectory, ensembles["Gaussian inputs, D = 320"]),
        f"images of {CLASSES[0]} and {CLASSES[1]}, $D = 64$": (trajectory, ensembles["images, D = 64"]),
    }
    with plt.style.context(dmft.plot.STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(7.6, 2.7))
        for ax, (title, results) in zip(axes, panels.items()):
            dmft.plot.loss(*results, ax=ax).legend(loc="upper right")
            ax.set_title(title)
        axes[2].sharey(axes[1])
    return figure
