"""Tables and prose of the terminal: nothing wraps in a pipe, and in a window everything stays readable."""

import re
import sys
import textwrap

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_UNBOUNDED = 10_000
_LABEL = re.compile(r"\s*\S.*?\s{2,}(?=\S)")
#: Columns that prose in a table takes at least.
_PROSE = 30


def console():
    """A console that writes to the present standard output: as wide as its window, or without bounds where that is none."""
    return Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else _UNBOUNDED)


def show(out, header, rows, right=False, fold=False):
    """Print a table to a `console`. Too wide for it, headings and lists get a line per entry; still too wide, each row is a block.

    Parameters
    ----------
    out : rich.console.Console
    header : sequence of str
    rows : sequence of sequences of str
    right : bool
        Align all columns but the first to the right, as numbers.
    fold : bool
        The last column is prose, which may break between words.
    """
    stacked = [name.replace(" ", "\n") for name in header]
    listed = [[cell.replace(", ", ",\n") for cell in row] for row in rows]
    for names, cells in ((header, rows), (stacked, rows), (stacked, listed)):
        table = _table(names, cells, right)
        if fold and _width(out, _table(names[:-1], [row[:-1] for row in cells], right)) <= out.width - _PROSE:
            table.columns[-1].no_wrap = False
            out.print(table)
            return
        if _width(out, table) <= out.width:
            out.print(table)
            return
    label = max(map(len, header))
    for row in rows:
        out.print()
        prose(out, [f"{name:{label}}  {cell}" for name, cell in zip(header, row) if cell], indent=label + 2)
    out.print()


def _table(header, rows, right):
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if right and i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _width(out, table):
    return Measurement.get(out, out.options.update(max_width=_UNBOUNDED), table).maximum


def prose(out, lines, indent=None):
    """Print lines that break between words in a window, the rest of each at column `indent`: by default below what follows its label.

    A label ends with two spaces; without one the rest is 4 further in than the beginning.
    """
    for line in lines:
        label = _LABEL.match(line)
        rest = len(line) - len(line.lstrip()) + 4 if label is None else min(label.end(), out.width // 2)
        margin = " " * (rest if indent is None else indent)
        out.print("\n".join(textwrap.wrap(line, out.width, subsequent_indent=margin, break_long_words=False)))
