"""What every verdict says of its rows: whether theory and networks agree, differ, or cannot be told apart for want of seeds."""

import math

from ..result import Result
from .rows import MAIN_SHARE, POWER

#: Of the theory: a deviation that must be seen in every row that decides, for theory and networks to agree.
RESOLUTION = 0.1
AGREES, DIFFERS, CANNOT_TELL = "agrees", "differs", "cannot tell"
_HEADINGS = ("network - theory", "z", "p", "limit", "bias up to", "seen from")


class Judgement(Result):
    """Base of verdicts: dataclasses with a `table` of `Row`, the `level` of the whole table, and `ensembles`, the compared one first."""

    @property
    def outcome(self):
        """ "differs", "cannot tell" or "agrees".

        "differs": at least one row is rejected, at a chance of `level` that this happens to a right theory. "cannot tell": none is, but
        in a row that decides a deviation of 10% would not have been found with probability 90%.
        """
        if any(row.differs for row in self.table):
            return DIFFERS
        deciding = [row for row in self.table if row.decides]
        return AGREES if deciding and all(row.detectable <= RESOLUTION for row in deciding) else CANNOT_TELL

    @property
    def agrees(self):
        """Whether the outcome is "agrees"."""
        return self.outcome == AGREES

    @property
    def max_abs_z(self):
        """Largest |z| of the table; infinite if only one side diverges, nan if there is nothing to compare."""
        return max((abs(row.z) for row in self.table), default=math.nan)

    @property
    def seeds_needed(self):
        """Networks of the compared size by which every row that decides would have power; None if no number would do."""
        seeds = self.ensembles[0].seeds
        needed = [row.seeds_needed(seeds, RESOLUTION) for row in self.table if row.decides]
        return None if None in needed or not needed else max(needed)

    def row(self, name):
        """The `Row` of this name."""
        names = [row.name for row in self.table]
        if name not in names:
            raise ValueError(f"name must be one of {', '.join(map(repr, names))}; got {name!r}")
        return self.table[names.index(name)]

    def headline(self):
        """The outcome in words, with the row that shows it; what is missing, if it cannot be told."""
        if self.outcome == DIFFERS:
            worst = min((row for row in self.table if row.differs), key=lambda row: row.p / row.level)
            return f"Theory and networks differ: {worst.name} by {_percent(worst.deviation)}, z = {worst.z:+.2f}, p = {worst.p:.1g}"
        if self.outcome == AGREES:
            worst = max(self.table, key=lambda row: abs(row.z))
            return f"Theory and networks agree: largest |z| = {abs(worst.z):.2f} ({worst.name}), p = {worst.p:.1g}"
        blind = [row for row in self.table if row.decides and row.detectable > RESOLUTION]
        if not blind:
            return "Theory and networks: cannot tell, there is nothing to compare"
        seen = ", ".join(f"{row.name} from {_percent(row.detectable, '')}" for row in blind)
        missed = f"a deviation of {RESOLUTION:.0%} would not be seen\n  seen is    {seen}; {self._remedy(blind)}"
        return f"Theory and networks: cannot tell, {missed}"

    def _remedy(self, blind):
        if self.seeds_needed is not None:
            return f"{self.seeds_needed} seeds would do"
        if any(row.bias >= RESOLUTION for row in blind):
            return "more seeds do not help: the bias may be as large, take larger networks"
        return "more seeds do not help: the theory has a Monte Carlo error, take more samples"

    def table_lines(self):
        """The table, and how to read it."""
        rows = [("compared", *_HEADINGS), *map(_cells, self.table)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [f"  {first:{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(rest, widths[1:])) for first, *rest in rows]
        count, main = len(self.table), sum(row.main for row in self.table)
        shared = f", {MAIN_SHARE:.0%} of it for the first {main}" if main < count else ""
        return [
            *lines,
            "  z: deviation / standard error. p: chance of one as large beyond the bias, by Student's t",
            f"  limit: p below it differs (x); Holm's correction, {self.level:g} for {count} rows{shared}",
            f"  seen from: a deviation found with probability {POWER:.0%}; in rows with * {RESOLUTION:.0%} must be seen to agree",
        ]


def _cells(row):
    name = f"{row.name} *" if row.decides else row.name
    deviation = f"{_percent(row.deviation)} ± {_percent(row.standard_error, '')}"
    p = f"{row.p:.1g}" + (" x" if row.differs else "  ")
    return name, deviation, f"{row.z:+.2f}", p, f"{row.level:.2g}", _percent(row.bias, ""), _percent(row.detectable, "")


def _percent(value, sign="+"):
    """Two digits, at least one after the point below 10%."""
    percent = 100 * value
    return f"{percent:{sign}.0f}%" if abs(percent) >= 9.95 else f"{percent:{sign}.{1 if abs(percent) >= 0.95 else 2}f}%"
