"""Every figure draws, at reduced size; the names on the command line are the functions of the modules."""

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
    "golikov-phase-diagram": {},
}


def test_every_figure_is_tested():
    assert set(SMALL) == set(figures.FIGURES)


@pytest.mark.parametrize("name", SMALL)
def test_figure_draws(name):
    figure = figures.function(name)(**SMALL[name])
    assert all(ax.get_xlabel() for ax in figure.axes if ax.lines)
    plt.close(figure)


def test_single_window_fails_near_the_edge_and_only_there():
    """The map behind the figure: finite at 0.2 of the largest stable rate, failed (nan) at 0.9."""
    figure = figures.function("bordelon-fixed-point")(**SMALL["bordelon-fixed-point"])
    sweeps = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    plt.close(figure)
    assert np.isfinite(sweeps[0]).all()
    assert np.isnan(sweeps[1]).all()


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match="bordelon-loss-curves"):
        figures.function("fig-1")


def test_reproduce_lists_and_draws(tmp_path):
    listing = CliRunner().invoke(app, ["reproduce", "--list"])
    assert listing.exit_code == 0
    assert all(name in listing.output for name in figures.FIGURES)
    drawn = CliRunner().invoke(app, ["reproduce", "bordelon-kernels", "--out", str(tmp_path)])
    assert drawn.exit_code == 0
    assert (tmp_path / "bordelon-kernels.png").stat().st_size > 10_000
