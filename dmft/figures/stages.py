"""What a figure says while it is drawn, and beforehand how long that takes."""

import itertools
from contextlib import contextmanager

from tqdm.auto import tqdm


def takes(cpu_seconds):
    """Decorator: state the CPU time of a figure function with its defaults, measured once on one core."""

    def state(draw):
        draw.cpu_seconds = cpu_seconds
        return draw

    return state


def stating(figure, verdict):
    """The figure, which says in one line, `figure.verdict`, what its numbers show; ``dmft reproduce`` prints it."""
    figure.verdict = verdict
    return figure


@contextmanager
def stages(count, progress):
    """Context of a progress bar over the parts of a figure; its value is called with the name of each part at its beginning."""
    with tqdm(total=count, unit="part", disable=not progress, leave=False) as bar:
        begun = itertools.count()

        def begin(name):
            bar.update(min(next(begun), 1))
            bar.set_description(name)

        yield begin
