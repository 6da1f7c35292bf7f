"""The `dmft` program. Every command is a call of the Python API; problems are TOML files (see `dmft.problem.read`)."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import dmft

from . import problem
from .curves import losses, root_mean_square, selection
from .errors import Interrupted, SolverError, StorageError

_ROWS_SHOWN = 9



class _Commands(typer.core.TyperGroup):
    """Ctrl-C ends a command with one line, which says what is finished."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _stop(stop, 130)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=dmft.__doc__)
console = Console(soft_wrap=True, highlight=False, markup=False)

ProblemFile = Annotated[Path, typer.Argument(metavar="FILE.toml", show_default=False, help="Problem to read.")]
RunFile = Annotated[Path, typer.Argument(metavar="RUN.h5", show_default=False, help="File written by dmft.")]


def main():
    """Entry point: bad input ends with one line and exit status 2, a solver that fails with 1, Ctrl-C with 130."""
    os.environ.setdefault("MPLBACKEND", "agg")
    warnings.formatwarning = lambda message, *_, **__: f"dmft: {_line(message)}\n"
    try:
        app()
    except SolverError as error:
        _stop(error, 1)
    except (ValueError, TypeError, OSError, StorageError) as error:
        _stop(error, 2)


def _stop(error, status):
    print("dmft:", _line(error) or "interrupted", file=sys.stderr)
    sys.exit(status)


def _line(message):
    return " ".join(str(message).split())


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False):
    if version:
        console.print(dmft.__version__)


@app.command()
def quickstart(out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("dmft-quickstart")):
    """Solve, simulate and compare two small problems; write HDF5 files and a figure."""
    from .quickstart import run

    run(out, console.print)


@app.command()
def solve(
    file: ProblemFile, out: Annotated[Path | None, typer.Option(help="File to write. [default: as [solve] says, or FILE.h5]")] = None
):
    """Solve the theory of a problem and store the trajectory."""
    stated = problem.read(file)
    options = {"out": f"{file.stem}.h5"} | stated.solve | ({"out": str(out)} if out else {})
    _show_trajectory(dmft.solve(stated.network, stated.data, stated.training, **options), options["out"])


@app.command()
def simulate(file: ProblemFile, out: Annotated[Path | None, typer.Option(help="File to write.", show_default=False)] = None):
    """Train the finite networks of a problem."""
    from .storage import save

    stated = problem.read(file)
    try:
        ensemble = dmft.simulate(stated.network, stated.data, stated.training, **stated.simulate)
    except Interrupted as stop:
        if out and stop.result is not None:
            save(stop.result, out)
            raise Interrupted(f"{stop}; written: {out}", stop.result) from None
        raise
    console.print(str(ensemble))
    console.print(_loss_table(ensemble=ensemble))
    if out:
        save(ensemble, out)
        console.print(f"written: {out}")


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml|RUN.h5", show_default=False, help="Problem to solve, or trajectory to read.")],
    dim: Annotated[
        int | None, typer.Option(help="Input dimension of the networks. [default: as [simulate] says]", show_default=False)
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Width of networks on a data set. [default: as [simulate] says]", show_default=False)
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of networks. [default: as [simulate] says, or 8]", show_default=False)] = None,
):
    """Hold the theory against finite networks."""
    if file.suffix == ".toml":
        stated = problem.read(file)
        trajectory = dmft.solve(stated.network, stated.data, stated.training, **stated.solve)
        options, further = stated.simulate, stated.compare
    else:
        trajectory, further = dmft.load(file), {}
        options = {name: trajectory.options[name] for name in ("loss",) if name in trajectory.options}
    options = options | {name: value for name, value in (("dim", dim), ("width", width), ("seeds", seeds)) if value is not None}
    ensemble = dmft.simulate(trajectory.network, trajectory.data, trajectory.training, **options)
    verdict = dmft.compare(trajectory, ensemble, **further)
    own = getattr(verdict, "solves", 0)  # the theory of each network's initial function: no single one for the table
    console.print(_loss_table(None if own else trajectory, ensemble, verdict))
    console.print(str(verdict))


@app.command("coordinate-check")
def coordinate_check(
    file: ProblemFile, out: Annotated[Path | None, typer.Option(help="Figure of the changes to write.", show_default=False)] = None
):
    """Hold fitted powers of the width of a deep network's signals against the derived ones; exit status 1 if one of them fails."""
    stated = problem.read(file)
    check = dmft.coordinate_check(stated.network, stated.data, stated.training, **stated.coordinate_check)
    console.print(str(check))
    if out:
        dmft.plot.coordinates(check).figure.savefig(out)
        console.print(f"written: {out}")
    if not check.passed:
        raise typer.Exit(1)


@app.command()
def resume(file: RunFile, steps: Annotated[int, typer.Option(help="Total number of steps to reach.", show_default=False)]):
    """Continue a stored trajectory to more steps, in its file."""
    _show_trajectory(dmft.resume(file, steps=steps), file)


@app.command()
def plot(file: RunFile, out: Annotated[Path | None, typer.Option(help="Figure to write. [default: RUN.png]", show_default=False)] = None):
    """Draw what a file holds: losses with correlations, logits and tangent kernel, or kernels of all layers; losses of finite networks."""
    out = out or file.with_suffix(".png")
    result = dmft.load(file)
    figure = dmft.plot.loss(ensemble=result).figure if isinstance(result, dmft.Ensemble) else dmft.plot.overview(result)
    figure.savefig(out)
    console.print(f"written: {out}")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, help="Figure to draw; --list names them.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Draw every figure.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("."),
):
    """Draw a figure of a paper."""
    from . import figures

    if list_ or not (name or all_):
        table = Table("figure", "shows")
        for known in figures.FIGURES:
            table.add_row(known, figures.describe(known))
        console.print(table)
        return
    drawings = {known: figures.function(known) for known in (figures.FIGURES if all_ else (name,))}
    out.mkdir(parents=True, exist_ok=True)
    for known, draw in drawings.items():
        draw().savefig(out / f"{known}.png")
        console.print(f"written: {out / known}.png")


@app.command()
def classes(
    loss: Annotated[str, typer.Option(help="logistic, hinge, mse or softmax.")] = "logistic",
    depth: Annotated[int, typer.Option(help="Number of hidden layers.")] = 1,
    rates: Annotated[str, typer.Option(help="common or layer-wise: exponents of the learning rates.")] = "common",
    latex: Annotated[bool, typer.Option("--latex", help="Table and equations as LaTeX.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Everything derived, as JSON.")] = False,
):
    """Derive the stable infinite-width limits of networks with one hidden layer or several."""
    from derivations import report

    if latex and json_:
        raise ValueError("latex and json exclude each other; give one of them")
    one_plane = depth == 1 and rates == "common"
    derivation = (dmft.limits.shallow(loss) if one_plane else dmft.limits.deep(depth, rates, loss)).derivation
    if latex:
        print(report.latex(derivation), end="")
    elif json_:
        print(json.dumps(report.to_json(derivation, layers=not one_plane), indent=1, ensure_ascii=False))
    else:
        header, *body = report.brief(derivation)
        table = Table(*header)
        for row in body:
            table.add_row(*row)
        console.print(table)
        console.print("\n".join(report.caption(derivation, report.terse)))


@app.command()
def analyze(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, help="Parameterization, such as mup or ip-llr.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of hidden layers, with NAME. [default: 3]", show_default=False)] = None,
    activation: Annotated[str, typer.Option(help="Name such as relu, tanh, gelu, or class of activations.")] = "relu",
    a: Annotated[str | None, typer.Option(help="Exponents a, one per weight matrix: 0,1/2,1/2", show_default=False)] = None,
    b: Annotated[str | None, typer.Option(help="Exponents b.", show_default=False)] = None,
    c: Annotated[str | None, typer.Option(help="Exponents c.", show_default=False)] = None,
    c_later: Annotated[str | None, typer.Option(help="Exponents c from the second step on. [default: c]", show_default=False)] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Table as LaTeX.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Everything derived, as JSON.")] = False,
):
    """Derive what a parameterization does at large width: stable or not, kernel or feature learning, the exponent of every signal."""
    from derivations import deep_report

    if latex and json_:
        raise ValueError("latex and json exclude each other; give one of them")
    exponents = {"a": a, "b": b, "c": c, "c_later": c_later}
    given = {option: text.split(",") for option, text in exponents.items() if text is not None}
    if (name is None) == (not given) or (name is None and not {"a", "b", "c"} <= set(given)):
        raise ValueError(f"name, or the exponents a, b and c, must be given; got name={name!r} and {', '.join(given) or 'no exponents'}")
    if given and depth is not None:
        raise ValueError(f"depth follows from the number of exponents; got depth={depth} with {', '.join(given)}")
    chosen = dmft.ABC(**given) if given else dmft.parameterization(name, 3 if depth is None else depth)
    analysis = chosen.analyze(activation)
    if latex:
        print(analysis.to_latex(), end="")
    elif json_:
        print(json.dumps(analysis.to_dict(), indent=1, ensure_ascii=False))
    else:
        table = Table(*deep_report.header())
        for row in deep_report.rows(analysis.result):
            table.add_row(*row)
        console.print(str(chosen))
        console.print(table)
        console.print("\n".join([*deep_report.caption(analysis.result), *deep_report.reasons(analysis.result)]))


@app.command()
def info(file: RunFile):
    """Describe a file written by dmft."""
    from .storage import info

    console.print(info(file))


@app.command()
def about():
    """Print versions, threads and BLAS, for bug reports."""
    console.print(str(dmft.about()))


def _show_trajectory(trajectory, path):
    console.print(str(trajectory))
    console.print(_loss_table(trajectory))
    console.print(f"written: {path}")


def _loss_table(trajectory=None, ensemble=None, verdict=None):
    """Losses at a few times, or the size of the logits where there is none: theory, networks (mean ± standard error) and z-score."""
    given = {label: result for label, result in (("theory", trajectory), ("networks", ensemble)) if result is not None}
    names = [name for name in ("test", "train") if all(name in losses(result) for result in given.values())]
    scores = {"test": verdict.zscores, "train": verdict.train_zscores} if isinstance(verdict, dmft.Verdict) else {}
    columns = {}
    for name in names or ["rms logits"]:
        for label, result in given.items():
            columns[f"{name} {label}"] = getattr(result, losses(result)[name]) if names else root_mean_square(result.predictions)
        if name in scores:
            columns[f"{name} z"] = scores[name]
    if verdict is not None and not scores:
        columns["function |z|"] = verdict.zscores
    table = Table("step")
    for heading in columns:
        table.add_column(heading, justify="right")
    times = (trajectory or ensemble).times
    for t in selection(len(times), _ROWS_SHOWN):
        table.add_row(str(times[t]), *(_cell(heading, values[..., t]) for heading, values in columns.items()))
    return table


def _cell(heading, values):
    """A z-score, a number of the theory, or the mean over networks and, where all are finite, its standard error."""
    if heading.endswith((" z", "|z|")):
        return f"{values:+.1f}" if heading.endswith(" z") else f"{values:.1f}"
    if np.size(values) == 1 or not np.all(np.isfinite(values)):
        return f"{np.mean(values):.5g}"
    return f"{np.mean(values):.5g} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.1g}"
