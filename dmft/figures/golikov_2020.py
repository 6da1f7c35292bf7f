"""Networks with one hidden layer in the limit of infinite width: Golikov, arXiv 2006.06574."""

import dmft


def phase_diagram(loss="logistic"):
    """The stable infinite-width limits of networks with one hidden layer in the plane of scaling exponents."""
    return dmft.plot.phase_diagram(dmft.limits.shallow(loss)).figure
