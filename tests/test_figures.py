"""Every figure draws, at reduced size; the names on the command line are the functions of the modules."""

import re
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

from dmft import figures
from dmft.cli import app

SMALL = {
    "bordelon-loss-curves": dict(dim=40, seeds=2, steps=10),
    "bordelon-kernels": dict(steps=10),
    "bordelon-learning-rate-transfer": dict(steps=5, points=4),
    "bordelon-fixed-point": dict(steps=60, fractions=(0.2, 0.9), depths=(1, 3), richnesses=(1.0,)),
    "bordelon-residual-networks": dict(depths=(1, 3), dim=40, seeds=2, steps=6),
    "bordelon-depth-transfer": dict(depths=(1, 3), steps=4, points=4),
    "bordelon-power-law": dict(widths=(8, 16), samples=(20, 40), dim=60, seeds=2, time=5.0, window=(0.5, 4.0)),
    "bordelon-power-law-transfer": dict(widths=(16, 64), steps=5, points=4),
    "bordelon-scaling-exponents": dict(depths=(1, 2), sources=(0.5,), window=(20.0, 200.0), dim=10**6),
    "kernel-evolution-loss": dict(richnesses=(1.0,), depth=2, width=32, seeds=2, samples=4, steps=3, particles=64),
    "kernel-evolution-richness": dict(richnesses=(0.3, 1.0), depth=2, width=32, seeds=2, samples=4, steps=3, particles=64),
    "kernel-evolution-approximations": dict(depth=2, width=32, seeds=2, samples=4, steps=3, particles=64),
    "golikov-phase-diagram": {},
    "golikov-fig1-left": {},
    "golikov-fig1-right": dict(widths=(16, 32), seeds=2, steps=3, samples=8, test_samples=4, particles=64),
    "golikov-kernel-change": dict(widths=(128, 256), seeds=2, steps=2, samples=8, particles=64),
    "hajjar-vanishing": dict(depths=(1, 2, 4), widths=(32, 64), seeds=3, steps=4, neurons=2**10),
    "hajjar-ip-llr": dict(depth=3, width=32, widths=(32, 64, 128), seeds=2, steps=4, neurons=2**10),
    "hajjar-convergence": dict(widths=(32, 64), seeds=2, times=(1, 2), neurons=2**10),
    "hajjar-polytope": {},
}


#: These are there at once, and show no progress.
INSTANT = {"golikov-phase-diagram", "golikov-fig1-left", "hajjar-polytope"}
#: Figures with a verdict, a line of numbers.
STATING = {f"bordelon-{name}" for name in ("residual-networks", "depth-transfer", "power-law", "power-law-transfer", "scaling-exponents")}


def draw(name):
    return figures.function(name)(**SMALL[name], **({} if name in INSTANT else {"progress": False}))


def test_every_figure_is_tested():
    assert set(SMALL) == set(figures.FIGURES)


class Bar:
    """In the place of a progress bar: what it was told."""

    def __init__(self, total, **options):
        self.total, self.done, self.names = total, 0, []
        Bar.last = self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def update(self, count):
        self.done += count

    def set_description(self, name):
        self.names.append(name)


@pytest.mark.parametrize("name", SMALL)
def test_figure_draws_and_names_its_parts(name, monkeypatch):
    monkeypatch.setattr("dmft.figures.stages.tqdm", Bar)
    Bar.last = None
    figure = draw(name)
    assert all(ax.get_xlabel() for ax in figure.axes if ax.lines and ax.get_subplotspec().is_last_row())
    plt.close(figure)
    verdict = getattr(figure, "verdict", None)
    assert (verdict is not None) == (name in STATING)
    assert verdict is None or (re.search(r"\d", verdict) and "\n" not in verdict and "nan" not in verdict)
    assert figures.cpu_seconds(name) > 0 and (name in INSTANT) == (Bar.last is None)
    if name not in INSTANT:
        assert Bar.last.done == Bar.last.total - 1 == len(set(Bar.last.names)) - 1


def test_single_window_fails_near_the_edge_and_only_there():
    """The map behind the figure: finite at 0.2 of the largest stable rate, failed (nan) at 0.9."""
    figure = draw("bordelon-fixed-point")
    sweeps = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    plt.close(figure)
    assert np.isfinite(sweeps[0]).all()
    assert np.isnan(sweeps[1]).all()


def test_fitted_exponents_are_drawn_beside_the_derived_ones():
    """Lazy and rich points of both depths near what is derived, in the middle panel as dashed lines."""
    figure = draw("bordelon-scaling-exponents")
    local, fits = figure.axes[1:]
    dashed = [line.get_ydata()[0] for line in local.lines if line.get_linestyle() == "--"]
    assert sorted(set(np.round(dashed, 3))) == [0.5, 0.667, 0.75]
    points = [container.lines[0].get_ydata()[0] for container in fits.containers]
    assert np.allclose(points, [0.5, 2 / 3, 0.5, 3 / 4], atol=0.03)
    plt.close(figure)


def test_training_curves_show_all_scalings_and_their_theory():
    """At the reference width all scalings are one network; only the initial function of MF vanishes, only the kernel of NTK stays."""
    figure = draw("golikov-fig1-right")
    loss, logits, change = (figure.axes[4 * row : 4 * row + 4] for row in range(3))
    assert all(ax.get_xscale() == "function" and "root scale" in ax.get_xlabel() for ax in change)
    for row in (loss, logits, change):
        assert [len(ax.lines) for ax in row] == [3] * 4
        for ax in row[1:]:
            np.testing.assert_allclose(ax.lines[0].get_ydata(), row[0].lines[0].get_ydata())
    assert [bool(np.isnan(ax.lines[-1].get_ydata()[0])) for ax in logits] == [True, False, False, False]
    assert [bool(np.isnan(ax.lines[-1].get_ydata()[1:]).all()) for ax in change] == [False, False, True, False]
    plt.close(figure)


def test_lines_of_the_kernel_change_have_the_derived_powers():
    """Labels from top to bottom are the powers; those of a kink differ near NTK only."""
    figure = draw("golikov-kernel-change")
    powers = [sorted(text.get_text().strip("$") for text in ax.texts) for ax in figure.axes]
    assert powers == [sorted(["0", "0", "0", "-1/4", "-1/2", "-3/4", "-1"]), sorted(["0", "0", "0", "-1/4", "-1/2", "-11/16", "-3/4"])]
    for ax in figure.axes:
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        slopes = [np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0] for line in dashed]
        assert sorted(slopes) == pytest.approx(sorted(float(Fraction(text.get_text().strip("$"))) for text in ax.texts), abs=1e-9)
    plt.close(figure)


def test_lines_of_the_integrable_parameterization_have_the_derived_powers():
    """-L/2 at initialization, and 0, 0, -(L - 2) after the first step; from four layers of weights on the limit stands still."""
    figure = draw("hajjar-vanishing")
    start, moved, losses, _ = figure.axes
    for ax, powers in ((start, (-0.5, -1.0, -2.0)), (moved, (0.0, 0.0, -2.0))):
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert [np.polyfit(*np.log(line.get_data()), 1)[0] for line in dashed] == pytest.approx(powers, abs=1e-9)
        assert [Fraction(text.get_text().strip("$")) for text in ax.texts] == [Fraction(power) for power in powers]
    limits = [line.get_ydata()[-1] for line in losses.lines if line.get_linestyle() == "--"]
    assert limits[0] < limits[1] < 0.9 and limits[2] == 1.0
    plt.close(figure)


def test_only_networks_with_a_limit_show_one():
    """Above each activation: three parameterizations, the limits of muP and hybrid muP; below: the layers of IP-LLR with derived powers."""
    figure = draw("hajjar-ip-llr")
    for losses, moved, powers in zip(figure.axes[:3], figure.axes[3:], ("0", "-1/2", "-1/2")):
        assert losses.get_xscale() == "function" and "root scale" in losses.get_xlabel()
        assert [line.get_linestyle() for line in losses.lines].count("--") == 2 and len(losses.lines) == 5
        labels = [text.get_text() for text in moved.get_legend().get_texts()]
        assert len(labels) == 4 and [label.split("(")[1].rstrip(")") for label in labels] == ["0", "0", powers, powers]
    plt.close(figure)


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match="bordelon-loss-curves"):
        figures.function("fig-1")


def test_reproduce_lists_and_draws(tmp_path):
    listing = CliRunner().invoke(app, ["reproduce", "--list"])
    assert listing.exit_code == 0
    rows = {line.split()[0]: line for line in listing.output.splitlines() if line.strip()}
    assert set(figures.FIGURES) < set(rows)
    assert re.search(r"golikov-fig1-right +\d+ min +Test loss", rows["golikov-fig1-right"])
    drawn = CliRunner().invoke(app, ["reproduce", "bordelon-kernels", "--out", str(tmp_path)])
    assert drawn.exit_code == 0 and "bordelon-kernels: takes about 4 s of CPU time" in drawn.output
    assert (tmp_path / "bordelon-kernels.png").stat().st_size > 10_000


def test_reproduce_says_the_verdict(tmp_path):
    drawn = CliRunner().invoke(app, ["reproduce", "bordelon-depth-transfer", "--out", str(tmp_path)])
    assert drawn.exit_code == 0 and "the best learning rate moves by -0.65 octaves" in drawn.output.replace("\n", " ")
