"""Derived classes as JSON, Markdown and LaTeX."""

import sympy

from .limit_classes import PROPERTIES

_HEADER = ("class", "limit", "dim", "conditions", "e0", "e1", "kernel change", "first derivative", "later", "holds")
_SHOWN = ("initial logits", "logits", "relative kernel change")


def to_json(derivation, layers=False):
    """Everything derived, as nested dictionaries of strings that `sympy.sympify` reads, numbers and lists.

    With `layers`, of every class also the layers that act and those that forget their initial weights.
    """
    loss = derivation.loss
    return {
        "loss": loss.name,
        "derivative": {"small": str(loss.small), "finite": str(loss.finite), "large": str(loss.large), "bounded": loss.bounded},
        "symbols": list(map(str, derivation.symbols)),
        "band": str(derivation.band),
        "lines": {name: str(line) for name, line in derivation.lines.items()},
        "classes": [
            {
                "name": c.name,
                "regime": c.regime,
                "dimension": c.dimension,
                "conditions": list(map(str, c.conditions)),
                "witness": list(map(str, c.witness)),
                "properties": list(c.properties),
                "signs": list(c.signs),
                "exponents": {name: str(e) for name, e in c.exponents.items()},
                "rules": list(map(str, c.rules)),
                "equations": {name: str(e) for name, e in c.equations.items()},
                "reasons": list(map(str, c.reasons)),
            }
            | ({"layers": list(c.layers), "forgotten": list(c.forgotten)} if layers else {})
            for c in derivation.classes
        ],
    }


def rows(derivation, write):
    """The table, header first: lists of cells, with expressions written by `write`; properties by their numbers."""
    table = [list(_HEADER)]
    for c in derivation.classes:
        expressions = [write(e) for e in (*(c.exponents[name] for name in _SHOWN), *c.rules)]
        table.append([c.name, c.regime, str(c.dimension), write(sympy.And(*c.conditions)), *expressions, _numbers(c)])
    return table


def brief(derivation):
    """A table that fits a terminal: of the exponents of the logits the signs only."""
    table = [["class", "limit", "dim", "where", "e0", "e1", "holds"]]
    for c in derivation.classes:
        signs = [{-1: "< 0", 0: "0", 1: "> 0"}[s] for s in c.signs]
        table.append([c.name, c.regime, str(c.dimension), terse(sympy.And(*c.conditions)), *signs, _numbers(c)])
    return table


def terse(expression):
    """Like `plain`, shorter."""
    text = plain(expression)
    for long, short in (("q_sigma", "qσ"), ("q_eta", "qη"), ("*", ""), (" + ", "+"), (" - ", "-")):
        text = text.replace(long, short)
    return text


def _numbers(limit):
    return " ".join(str(PROPERTIES.index(name) + 1) for name in limit.properties)


def _chains(conditions):
    """Relations as lists of expressions and signs between them; two bounds of the same form make one chain."""
    groups = {}
    for condition in sorted(conditions, key=lambda r: (sympy.default_sort_key(r.lhs), r.rel_op[0] == "<")):
        groups.setdefault(condition.lhs, []).append(condition)
    for form, (first, *more) in groups.items():
        if more:
            yield [first.rhs, first.rel_op.replace(">", "<"), form, more[0].rel_op, more[0].rhs]
        else:
            yield [form, first.rel_op.replace("==", "="), first.rhs]


def _relations(expression):
    return expression.args if isinstance(expression, sympy.And) else (expression,)


def plain(expression):
    """An expression on one line, relations with their sign."""
    if isinstance(expression, (sympy.Rel, sympy.And)):
        return ", ".join(" ".join(map(str, chain)) for chain in _chains(_relations(expression)))
    if isinstance(expression, sympy.Or):
        return "; or ".join(map(plain, expression.args))
    if isinstance(expression, sympy.Piecewise):
        value, condition = expression.args[0]
        return f"{value} if {condition}, else {expression.args[1][0]}"
    return str(expression)


def caption(derivation, write=plain):
    """What a table does not say: the count, the band, the meaning of its columns."""
    band, count = write(derivation.band), len(derivation.classes)
    lines = [f"({i}) {name}: {write(line)}" for i, (name, line) in enumerate(derivation.lines.items(), start=1)]
    return [
        f"{count} stable limit models, {derivation.loss.name} loss.",
        f"Stable: {band}.",
        "Exponents of the width: e0 of the logits at initialization, e1 of the logits later.",
        "Properties:",
        *lines,
    ]


def described(limit):
    """Lines that say what a limit class is."""
    forgotten = f", initial weights of {', '.join(limit.forgotten)} forgotten" if limit.forgotten else ""
    layers = f"layers {', '.join(limit.layers)}{forgotten}"
    return [
        f"{limit.name}: {limit.regime}, {layers}, where {plain(sympy.And(*limit.conditions))}",
        *(f"  {name}" for name in limit.properties),
        *(f"  exponent of {name}: {plain(exponent)}" for name, exponent in limit.exponents.items()),
        *(f"  {name}: {plain(equation)}" for name, equation in limit.equations.items()),
    ]


def markdown(derivation):
    """Caption, table, and for every class its equations and reasons."""
    header, *body = rows(derivation, plain)
    table = [header, ["---"] * len(header), *body]
    lines = [*caption(derivation), "", *("| " + " | ".join(row) + " |" for row in table)]
    for c in derivation.classes:
        lines += ["", f"### {c.name}", *(f"- {name}: `{plain(e)}`" for name, e in c.equations.items())]
        lines += ["", "Because", *(f"{i}. {reason}" for i, reason in enumerate(c.reasons, start=1))]
    return "\n".join(lines) + "\n"


def latex(derivation):
    """Caption, table, and the equations of every class, for a document with amsmath."""
    header, *body = rows(derivation, _inline)
    lines = [line + r" \\" for line in caption(derivation, _inline)]
    lines += [rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"\hline", " & ".join(header) + r" \\", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in body]
    lines += [r"\hline", r"\end{tabular}"]
    for c in derivation.classes:
        numbered = " \\\\\n".join(f"{_latex(e.lhs)} &= {_latex(e.rhs)}" for e in c.equations.values())
        lines += ["", rf"\paragraph{{{c.name}}}", r"\begin{align*}", numbered, r"\end{align*}"]
    return "\n".join(lines) + "\n"


def _inline(expression):
    return f"${_latex(expression)}$"


def _latex(expression):
    if isinstance(expression, (sympy.Rel, sympy.And)):
        signs = {"<=": r"\leq", ">=": r"\geq"}
        chains = ([signs.get(e, e) if isinstance(e, str) else _latex(e) for e in chain] for chain in _chains(_relations(expression)))
        return r",\ ".join(" ".join(chain) for chain in chains)
    if isinstance(expression, sympy.Or):
        return r"\ \text{or}\ ".join(map(_latex, expression.args))
    if isinstance(expression, sympy.Piecewise) and expression.args[1][0] == 0:
        value, condition = expression.args[0]
        return rf"{_latex(value)}\,\mathbf{{1}}[{_latex(condition)}]"
    return sympy.latex(expression).replace(r"\operatorname{dphi}", r"\phi'").replace("*", r"\ast ")
