"""What all figures share."""

from pathlib import Path

STYLE = Path(__file__).parents[1] / "dmft.mplstyle"

#: Colours by role, of the Okabe-Ito palette.
TEST, TRAIN = "#0072B2", "#D55E00"
BY_NAME = {"test": TEST, "train": TRAIN}
#: Of the points with the lower and those with the higher label.
BY_LABEL = ("#0072B2", "#D55E00")
#: About as many moments in time get a marker.
MARKERS = 12
