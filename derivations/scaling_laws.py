"""How the loss of deep linear networks falls with time on power-law data: exponents from the balance of layers.

The argument of docs/theory/deep_linear.md, section 6.1. Each of its steps is a power law in the time t, so that exponents obey linear
equations, which are solved here. Lazy and rich training differ in one number, how many layers of weights grow together.
"""

from dataclasses import dataclass

import sympy

from .printed import Printed

DEPTH = sympy.Symbol("L", integer=True, positive=True)
SOURCE, CAPACITY = sympy.symbols("b a", positive=True)
#: Whether the norm of the target, the sum of all w_k^2, is infinite.
HARD, MARGINAL, EASY = "hard", "marginal", "easy"
_CONDITIONS = {HARD: "b < 1", MARGINAL: "b = 1", EASY: "b > 1"}
#: Exponents of the last learned mode k*, the squared norm of the learned map M, the singular value s of a layer, the kernel K, the loss.
_UNKNOWN = sympy.symbols("k* |M|^2 s K loss")
_STEPS = (
    "eigenvalues k^-a; target w_k^2 = k^(a - a b - 1)",
    "modes up to k* are learned: k*^a ~ t K",
    "norm of what is learned: |M|^2 ~ sum of w_k^2 over k < k*",
    "n layers of weights grow, balanced: s^n ~ |M|",
    "kernel, the others for each that learns: K ~ s^(2 (n - 1))",
    "loss, what is not learned: sum of k^-a w_k^2 over k > k*",
)


def case(source):
    """ "hard", "marginal" or "easy", for a number b."""
    return HARD if source < 1 else MARGINAL if source == 1 else EASY


def _grows(difficulty, power):
    """Exponents, of x and of ln x, of the sum over k < x of k^(power - 1), where power is positive for hard tasks and vanishes at b = 1."""
    return {HARD: (power, 0), MARGINAL: (0, 1), EASY: (0, 0)}[difficulty]


def balance(layers, difficulty, source=SOURCE, capacity=CAPACITY):
    """Exponents of time, and of the logarithm of time beside it, if n = `layers` layers of weights grow together.

    Parameters
    ----------
    layers : int or sympy.Expr
        1: the kernel stays, as in lazy training.
    difficulty : {"hard", "marginal", "easy"}
        b < 1, b = 1, b > 1.
    source, capacity : sympy.Expr
        b and a.

    Returns
    -------
    tuple of two dict of {str: sympy.Expr}
        By "k*", "|M|^2", "s", "K", "loss": x ~ t^first (ln t)^second.
    """
    k = sympy.Symbol("k", positive=True)
    target = k ** (capacity - capacity * source - 1)
    norm, logarithm = _grows(difficulty, _power(target, k) + 1)
    tail = _power(target * k**-capacity, k) + 1
    learned, size, value, kernel, loss = _UNKNOWN

    def solved(time, log):
        equations = (
            sympy.Eq(capacity * learned, time + kernel),
            sympy.Eq(size, norm * learned + log),
            sympy.Eq(layers * value, size / 2),
            sympy.Eq(kernel, 2 * (layers - 1) * value),
            sympy.Eq(loss, tail * learned),
        )
        return {str(name): sympy.factor(value) for name, value in sympy.solve(equations, _UNKNOWN).items()}

    return solved(1, 0), solved(0, logarithm)


def _power(term, k):
    return sympy.simplify(k * sympy.diff(sympy.log(term), k))


@dataclass(frozen=True, repr=False)
class ScalingExponents(Printed):
    """Exponents of the loss, t^-exponent, at infinite width and on the population.

    Attributes
    ----------
    depth, source, capacity : sympy.Expr
        L hidden layers, b, a: numbers or symbols.

    Examples
    --------
    >>> exponents = dmft.scaling_exponents()
    >>> exponents.hard(exponents.depth + 1), exponents.hard(2)
    (b*(L + 1)/(L*b + 1), 2*b/(b + 1))
    """

    depth: sympy.Expr = DEPTH
    source: sympy.Expr = SOURCE
    capacity: sympy.Expr = CAPACITY

    @property
    def lazy(self):
        """Exponent while the kernel stays (sympy.Expr): the case n = 1."""
        return self.growing(1)

    @property
    def rich(self):
        """Exponent once all L + 1 layers of weights have grown (sympy.Expr; piecewise for a symbolic source)."""
        return self.growing(self.depth + 1)

    def growing(self, layers):
        """Exponent if as many layers of weights grow together and the others stay (sympy.Expr).

        Parameters
        ----------
        layers : int or sympy.Expr
            1: lazy; 2: the exponent of two-layer networks, at any depth; L + 1: rich.
        """
        if self.source.is_number:
            return self._exponent(layers, case(self.source))
        hard, easy = (self._exponent(layers, name) for name in (HARD, EASY))
        return hard if hard == easy else sympy.Piecewise((hard, self.source < 1), (easy, True))

    def hard(self, layers):
        """`growing` by the equations of hard tasks, b < 1, whatever the source."""
        return self._exponent(layers, HARD)

    def logarithm(self, layers):
        """Exponent e of the logarithm at b = 1, where the loss is t^-1 (ln t)^-e (sympy.Expr)."""
        return sympy.factor(-balance(layers, MARGINAL, sympy.Integer(1), self.capacity)[1]["loss"])

    def learned(self, layers):
        """Exponent of the last learned mode k* of a hard task (sympy.Expr): an input dimension D bends the loss from t = D^(1/exponent)."""
        return balance(layers, HARD, self.source, self.capacity)[0]["k*"]

    @property
    def crossover(self):
        """Exponent e of the time richness^-e at which a hard task stops being lazy, as richness |M| is then of order one (sympy.Expr)."""
        return sympy.factor(2 / balance(1, HARD, self.source, self.capacity)[0]["|M|^2"])

    def _exponent(self, layers, difficulty):
        return sympy.factor(-balance(layers, difficulty, self.source, self.capacity)[0]["loss"])

    def __str__(self):
        n = sympy.Symbol("n", positive=True)
        values = {"lazy, n = 1": self.lazy, "rich, n = L + 1": self.rich, "two layers, n = 2": self.growing(2)}
        difficulty = case(self.source) if self.source.is_number else HARD
        return "\n".join(
            [
                f"Exponents of the loss in time, L = {self.depth}, b = {self.source}, a = {self.capacity}",
                *(f"  {step}" for step in _STEPS),
                f"  exponents of t, {difficulty} task ({_CONDITIONS[difficulty]}):",
                *(f"    {name:18} {value}" for name, value in balance(n, difficulty, self.source, self.capacity)[0].items()),
                "  loss ~ t^-exponent:",
                *(f"    {name:18} {_plain(value)}" for name, value in values.items()),
                *(f"  {line}" for line in self._remarks(difficulty)),
            ]
        )

    def _remarks(self, difficulty):
        if difficulty == HARD:
            yield f"lazy until t ~ richness^-e, e = {self.crossover}; rich until k* ~ D"
        if difficulty == MARGINAL or not self.source.is_number:
            yield f"at b = 1 rich losses have the factor (ln t)^-e, e = {self.logarithm(self.depth + 1)}"


def _plain(expression):
    if isinstance(expression, sympy.Piecewise):
        (value, condition), (other, _) = expression.args
        return f"{value} if {condition}, else {other}"
    return str(expression)
