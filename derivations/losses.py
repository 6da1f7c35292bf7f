"""Loss functions as power counting sees them: the derivative at logits that vanish, stay finite, or diverge with the width.

Source: docs/theory/shallow_limits.md, sections 4 and 7; arXiv 2006.06574.
"""

from dataclasses import dataclass

import sympy

LABEL, LOGIT = sympy.symbols("y z")
_MARGIN = sympy.Symbol("m", real=True)


@dataclass(frozen=True)
class Loss:
    """Derivative of a loss by the logit z, for label y, and its limits under z -> s z.

    Attributes
    ----------
    name : str
    small, finite, large : sympy.Expr
        Limit for s -> 0, the derivative itself, limit for s -> infinity; of an unbounded derivative, the limit divided by s.
    bounded : bool
    """

    name: str
    small: sympy.Expr
    finite: sympy.Expr
    large: sympy.Expr
    bounded: bool = True

    def rule(self, sign):
        """The derivative that survives when the exponent of the logits has this sign."""
        return {-1: self.small, 0: self.finite, 1: self.large}[sign]


def _of_margin(name, loss):
    """The loss l(y z), y = -1 or +1, given as l(m)."""
    slope = sympy.simplify(sympy.diff(loss, _MARGIN))
    growth = _limit(slope, -sympy.oo, divisor=_MARGIN)
    margin = LABEL * LOGIT
    if growth == 0:
        wrong, right = (LABEL * _limit(slope, end) for end in (-sympy.oo, sympy.oo))
        large = sympy.Piecewise((wrong, margin < 0), (right, True))
    else:
        large = growth * LOGIT
    finite = sympy.expand(LABEL * slope.subs(_MARGIN, margin)).subs(LABEL**2, 1)
    return Loss(name, LABEL * slope.subs(_MARGIN, 0), finite, large, bounded=bool(growth == 0))


def _limit(slope, end, divisor=1):
    """Limit of slope/divisor at an infinite margin; of a piecewise slope, that of the piece which holds there."""
    pieces = slope.args if isinstance(slope, sympy.Piecewise) else [(slope, sympy.true)]
    piece = next(expression for expression, condition in pieces if condition.subs(_MARGIN, end))
    return sympy.limit(piece / divisor, _MARGIN, end)


class softmax(sympy.Function):  # noqa: N801, printed under this name
    """Softmax of a vector of C logits, uniform where they vanish."""

    @classmethod
    def eval(cls, logits):
        if logits.is_zero:
            return 1 / sympy.Symbol("C")


def _cross_entropy():
    finite = softmax(LOGIT) - LABEL
    winner = sympy.Function("onehot")(sympy.Function("argmax")(LOGIT))
    return Loss("softmax", finite.subs(LOGIT, 0), finite, winner - LABEL)


#: Loss by name.
LOSSES = {
    "logistic": lambda: _of_margin("logistic", sympy.log(1 + sympy.exp(-_MARGIN))),
    "hinge": lambda: _of_margin("hinge", sympy.Piecewise((1 - _MARGIN, _MARGIN < 1), (0, True))),
    "mse": lambda: _of_margin("mse", (1 - _MARGIN) ** 2 / 2),
    "softmax": _cross_entropy,
}
