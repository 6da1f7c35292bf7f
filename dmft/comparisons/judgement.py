"""What every verdict says of its rows: whether theory and networks agree, differ, or cannot be told apart for want of seeds."""

import math

from ..result import Result
from .rows import MAIN_SHARE, POWER

#: Of the theory: a deviation that must be ruled out in every row that decides, for theory and networks to agree.
RESOLUTION = 0.1
AGREES, DIFFERS, CANNOT_TELL = "agrees", "differs", "cannot tell"
_HEADINGS = ("network - theory", "z", "p", "limit", "bias", "seen", "at most")


class Judgement(Result):
    """Base of verdicts: dataclasses with a `table` of `Row`, the `level` of the whole table, and `ensembles`, the compared one first."""

    @property
    def outcome(self):
        """ "differs", "cannot tell" or "agrees".

        "differs": at least one row is rejected, at a chance of `level` that this happens to a right theory. "agrees": none is, and every
        row that decides rules out a deviation of 10%, at a chance of `level` that it does so for a theory as wrong as that; no correction
        for their number is due, as all of them must (Berger, Technometrics 24, 295, 1982). "cannot tell": neither.
        """
        if any(row.differs for row in self.table):
            return DIFFERS
        return CANNOT_TELL if self._open() or not any(row.decides for row in self.table) else AGREES

    def _open(self):
        """Rows that decide and do not rule out a deviation of 10%."""
        return [row for row in self.table if row.decides and row.at_most(self.level) > RESOLUTION]

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
        """Networks of the compared size by which a right theory would agree with probability 90%; None if no number would do.

        At least twice as many where these cannot tell.
        """
        seeds = self.ensembles[0].seeds
        needed = [row.seeds_needed(seeds, RESOLUTION, self.level) for row in self.table if row.decides]
        if None in needed or not needed:
            return None
        return max(*needed, 2 * seeds if self._open() else seeds)

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
        unsettled = self._open()
        if not unsettled:
            return "Theory and networks: cannot tell, there is nothing to compare"
        possible = ", ".join(f"{row.name} up to {_percent(row.at_most(self.level), '')}" for row in unsettled)
        return (
            f"Theory and networks: cannot tell, a deviation of {RESOLUTION:.0%} is not ruled out\n"
            f"  possible   {possible}; {self._remedy(unsettled)}"
        )

    def _remedy(self, unsettled):
        if self.seeds_needed is not None:
            return f"{self.seeds_needed} seeds would do"
        if any(row.bias >= RESOLUTION for row in unsettled):
            return "more seeds do not help: the bias may be as large, take larger networks"
        return "more seeds do not help: the theory has a Monte Carlo error, take more samples"

    def table_lines(self):
        """The table, and how to read it."""
        rows = [("compared", *_HEADINGS), *(_cells(row, self.level) for row in self.table)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [f"  {first:{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(rest, widths[1:])) for first, *rest in rows]
        count, main = len(self.table), sum(row.main for row in self.table)
        shared = f", {MAIN_SHARE:.0%} of it for the first {main}" if main < count else ""
        return [
            *lines,
            "  z: deviation / standard error. p: chance of one as large beyond the bias, by Student's t",
            f"  limit: p below it differs (x); Holm's correction, {self.level:g} for {count} rows{shared}",
            f"  bias: its bound. seen: a true deviation that so many seeds find with probability {POWER:.0%}",
            f"  at most: the true deviation, with confidence {1 - self.level:g}; in rows with * below {RESOLUTION:.0%} to agree",
        ]


def _cells(row, level):
    name = f"{row.name} *" if row.decides else row.name
    deviation = f"{_percent(row.deviation)} ± {_percent(row.standard_error, '')}"
    p = f"{row.p:.1g}" + (" x" if row.differs else "  ")
    bounds = (_percent(size, "") for size in (row.bias, row.detectable, row.at_most(level)))
    return name, deviation, f"{row.z:+.2f}", p, f"{row.level:.2g}", *bounds


def _percent(value, sign="+"):
    """Two digits, at least one after the point below 10%."""
    percent = 100 * value
    return f"{percent:{sign}.0f}%" if abs(percent) >= 9.95 else f"{percent:{sign}.{1 if abs(percent) >= 0.95 else 2}f}%"
