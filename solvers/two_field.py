"""The one building block of every linear theory: two fields that drive each other,

    h = a + A g,    g = b + B h,    <a a> = Ca,  <b b> = Cb,

A lower triangular, B strictly lower triangular in time (docs/theory/deep_linear.md, section 1). With the responses
H = dh/da, Rh = dh/db, G = dg/db, Rg = dg/da, row t follows from the rows before it, first g and then h:

    Rg[t] = B[t] H          G[t] = 1 + B[t] Rh        Cg[t] = (Rg[t] Ca) Rg^T + (G[t] Cb) G^T
    H[t] = 1 + A[t] Rg      Rh[t] = A[t] G            Ch[t] = (H[t] Ca) H^T + (Rh[t] Cb) Rh^T

No inverse and no fixed point: the row march is exact. A, B, Rh and Rg are scaled responses (see `linear_problem`), which puts
the `coupling` c in front of every product of two of them. With several outputs "row t" is a slab of rows.

Nothing is computed here. A theory is a table of such half rows, `Field`s in the order in which they become known, and `row_march`
carries it out; matrices are numbers of places in a `history`. H and G of an input mode are the same in exact arithmetic, but a march that
takes one for the other lets rounding grow exponentially with time.
"""

from typing import NamedTuple

import numpy as np

#: No matrix, no constant.
NONE = -1

#: What a term of a coefficient row is multiplied with, entry by entry: 1, d(t) d(s), or kappa(t, s).
ONE, DECAY, MEMORY = range(3)


class Term(NamedTuple):
    """Summand of a coefficient row: weight times row t of a matrix, or of the unit matrix if none, times a factor."""

    matrix: int
    factor: int
    weight: float


class Source(NamedTuple):
    """Covariance of a source field: variance * (f o C + fresh) + w w^T o (11^T (x) constant), f = 1 or d(t) d(s), w = 1 or d(t).

    Attributes
    ----------
    matrix : int
        C; none: zero.
    variance : float
    factor : int
        ONE or DECAY.
    fresh : bool
        Whether the noise of fresh samples, at equal times, is added.
    constant : int
        Number of the constant, (outputs, outputs); -1: none.
    constant_factor : int
    """

    matrix: int = NONE
    variance: float = 0.0
    factor: int = ONE
    fresh: bool = False
    constant: int = NONE
    constant_factor: int = ONE


class Response(NamedTuple):
    """One of the two responses of a half row, row t of R = scale * x[t] M + unit, and its weight in the correlation.

    Attributes
    ----------
    left : int
        M.
    place : int
        R; none: it is not stored.
    scale : float
        0: R is the unit matrix.
    unit : bool
    weight : float
        Of the term (R[t] Cov) R^T, with the covariance of the source.
    source : Source
    mean : int
        Matrix that the row goes into as well, like the row of the correlation.
    """

    left: int
    place: int
    scale: float
    unit: bool
    weight: float
    source: Source
    mean: int = NONE


class Field(NamedTuple):
    """Half row: coefficients x[t], the sum of the terms; its responses; and the row of the correlation, the sum of their terms.

    Attributes
    ----------
    terms : list of Term
    strict : bool
        Whether x[t, t] = 0.
    responses : list of Response
    correlation : int
        Matrix that the row of the correlation goes into; none: it is not stored.
    weight : float
    kept : float
        1 where it is added to what is there, else 0.
    """

    terms: list
    strict: bool
    responses: list
    correlation: int
    weight: float = 1.0
    kept: float = 0.0


def _records(kind):
    """Type of the entries of an array of such tuples of numbers."""
    return [(name, np.float64 if of is float else np.int64) for name, of in kind.__annotations__.items()]


_TERM = np.dtype(_records(Term))
_RESPONSE = np.dtype([field for field in _records(Response) if field[0] != "source"] + _records(Source))
_FIELD = np.dtype(
    [("terms", np.int64), ("terms_stop", np.int64), ("strict", np.int64), ("responses", np.int64), ("responses_stop", np.int64)]
    + [("correlation", np.int64), ("weight", np.float64), ("kept", np.float64)]
)


def table(fields):
    """The fields, their responses and their terms as three arrays of records; a field names the ranges that are its own."""
    terms, responses, rows = [], [], []
    for field in fields:
        first = len(terms), len(responses)
        terms += field.terms
        responses += [(*response[:5], *response[6:], *response.source) for response in field.responses]
        rows.append((first[0], len(terms), field.strict, first[1], len(responses), *field[3:]))
    return np.array(rows, _FIELD), np.array(responses, _RESPONSE), np.array(terms, _TERM)


def multiplied(fields):
    """Numbers of the matrices that the fields of a table are products with."""
    found = set()
    for response in (response for field in fields for response in field.responses if response.scale != 0.0):
        found |= {response.left} | ({response.place, response.source.matrix} if response.weight != 0.0 else set())
    return sorted(found - {NONE})


class TwoField(NamedTuple):
    """Places of the four response matrices of one block, and its coupling."""

    H: int
    Rh: int
    G: int
    Rg: int
    coupling: float

    def _weight(self, coupled, source):
        """Weight of a term of the correlation: the coupling, or 1; 0 where there is no source, so that nothing is multiplied."""
        return 0.0 if source.variance == 0.0 and source.constant == NONE else self.coupling if coupled else 1.0

    def backward(self, B, a=Source(), b=Source(), Cg=NONE, weight=1.0, kept=0.0, mean=NONE, plus=None):
        """Row t of g: Rg[t], G[t] and, given the sources, Cg[t] with the covariance `plus` added; Rg is averaged in `mean`."""
        Rg = Response(self.H, self.Rg, 1.0, False, self._weight(True, a), a, mean)
        G = Response(self.Rh, self.G, self.coupling, True, self._weight(False, b), b)
        return Field(B, True, [Rg, G, *_bare(plus)], Cg, weight, kept)

    def forward(self, A, a=Source(), b=Source(), Ch=NONE, weight=1.0, kept=0.0, mean=NONE, plus=None):
        """Row t of h: H[t], Rh[t] and, given the sources, Ch[t] with the covariance `plus` added; Rh is averaged in `mean`."""
        H = Response(self.Rg, self.H, self.coupling, True, self._weight(False, a), a)
        Rh = Response(self.G, self.Rh, 1.0, False, self._weight(True, b), b, mean)
        return Field(A, False, [H, Rh, *_bare(plus)], Ch, weight, kept)


def _bare(source):
    """The response, 1, of a field to a source that passes it unchanged; nothing if there is none."""
    return [] if source is None else [Response(NONE, NONE, 0.0, False, 1.0, source)]
