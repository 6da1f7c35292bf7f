"""The `dmft` program. Every command is a call of the Python API; problems are TOML files (see `dmft.problem_file.read`)."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

import dmft

from . import checks, problem_file, terminal
from .curves import function_name, losses, root_mean_square, selection
from .errors import Interrupted, SolverError, StorageError
from .figure_files import require_folder, require_writable

_ROWS_SHOWN = 9
_BARE_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class _Commands(typer.core.TyperGroup):
    """Ctrl-C ends a command with one line, which says what is finished."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _stop(stop, 130)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=dmft.__doc__)


def _option(text, *names, **more):
    """An option whose help is shown as it is written: square brackets are no markup."""
    return typer.Option(*names, help=escape(text), show_default=False, **more)


ProblemFile = Annotated[Path, typer.Argument(metavar="FILE.toml", show_default=False, help="Problem to read.")]
RunFile = Annotated[Path, typer.Argument(metavar="RUN.h5", show_default=False, help="File written by dmft.")]
Changes = Annotated[
    list[str] | None,
    _option(
        "Replace or add an entry of the file, such as training.learning_rate=0.1; the value as in TOML, or one word. Repeat for more.",
        "--set",
        metavar="NAME=VALUE",
    ),
]
Overwrite = Annotated[bool, _option("Replace results that are there already.", "--overwrite")]


def main():
    """Entry point: bad input ends with one line and exit status 2, a solver that fails with 1, Ctrl-C with 130."""
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        app(prog_name="dmft")
    except SolverError as error:
        _stop(error, 1)
    except (ValueError, TypeError, OSError, StorageError) as error:
        _stop(error, 2)


def _stop(error, status):
    print("dmft:", _line(error) or "interrupted", file=sys.stderr)
    sys.exit(status)


def _line(message):
    return " ".join(str(message).split())


def _say(text):
    terminal.prose(terminal.console(), text.splitlines())


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False):
    if version:
        _say(dmft.__version__)


@app.command()
def quickstart(out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("dmft-quickstart")):
    """Solve, simulate and compare two small problems; write HDF5 files and a figure."""
    from .quickstart import run

    run(require_folder("out", out, create=True))


@app.command()
def solve(
    file: ProblemFile,
    out: Annotated[Path | None, _option("File to write. [default: as [solve] says, or FILE.h5]")] = None,
    overwrite: Overwrite = False,
    changes: Changes = None,
):
    """Solve the theory of a problem and store the trajectory."""
    stated = problem_file.read(file, _parsed(changes))
    path = out or _solved_file(file, stated)
    _require_free(path, overwrite, dmft.Trajectory)
    _show_trajectory(_solved(stated, path, overwrite), path)


@app.command()
def simulate(
    file: ProblemFile,
    out: Annotated[Path | None, _option("File to write. [default: FILE-networks.h5]")] = None,
    overwrite: Overwrite = False,
    changes: Changes = None,
):
    """Train the finite networks of a problem and store them."""
    stated, out = problem_file.read(file, _parsed(changes)), out or _beside(Path(file.name))
    _require_free(out, overwrite, dmft.Ensemble)
    ensemble = _simulated(stated.problem, stated.simulate, out)
    _say(str(ensemble))
    _show_losses(ensemble=ensemble)
    _say(f"written: {out}")


@app.command()
def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE.toml | RUN.h5 [NETWORKS.h5 ...]",
            show_default=False,
            help="Problem to solve and simulate, trajectory to simulate, or trajectory and networks, of several widths if you like.",
        ),
    ],
    dim: Annotated[int | None, _option("Input dimension of the networks. [default: as [simulate] says]")] = None,
    width: Annotated[int | None, _option("Width of networks on a data set. [default: as [simulate] says]")] = None,
    seeds: Annotated[int | None, _option("Number of networks. [default: as [simulate] says, or 8]")] = None,
    out: Annotated[Path | None, _option("File for the networks. [default: FILE-networks.h5 or RUN-networks.h5]")] = None,
    overwrite: Overwrite = False,
    changes: Changes = None,
):
    """Hold the theory against finite networks. What is solved and simulated here is stored as solve and simulate do."""
    file, *stored = files
    sizes = {name: value for name, value in (("dim", dim), ("width", width), ("seeds", seeds)) if value is not None}
    further = {}
    if file.suffix == ".toml":
        if stored:
            raise ValueError(f"files must be one problem, or a trajectory and networks; got {', '.join(map(str, files))}")
        stated, out = problem_file.read(file, _parsed(changes)), out or _beside(Path(file.name))
        further, written = stated.compare, [_solved_file(file, stated), out]
        if written[0].resolve() == out.resolve():
            raise ValueError(f"out must be another file than that of the trajectory, {written[0]}")
        for path, kind in zip(written, (dmft.Trajectory, dmft.Ensemble)):
            _require_free(path, overwrite, kind)
        dmft.memory_estimate(stated.problem)
        ensembles = [_simulated(stated.problem, stated.simulate | sizes, out)]
        trajectory = _solved(stated, written[0], overwrite)
        written[0] = _written(trajectory, written[0])
    else:
        if changes:
            raise ValueError(f"set changes a problem file, FILE.toml; got {changes[0]!r} with {file}")
        trajectory = _loaded(file, dmft.Trajectory)
        if stored:
            given = [*sizes, *(name for name, value in (("out", out), ("overwrite", overwrite)) if value)]
            if given:
                raise ValueError(f"{given[0]} must be left out with stored networks, which are compared as they are; got {stored[0]}")
            ensembles, written = [_loaded(name, dmft.Ensemble) for name in stored], []
        else:
            out = out or _beside(file)
            _require_free(out, overwrite, dmft.Ensemble)
            loss = {name: trajectory.options[name] for name in ("loss",) if name in trajectory.options}
            ensembles, written = [_simulated(trajectory, loss | sizes, out)], [out]
    verdict = dmft.compare(trajectory, ensembles, **further)
    own = getattr(verdict, "solves", 0)  # the theory of each network's initial function: no single one for the table
    _show_losses(None if own else trajectory, ensembles[0], verdict)
    _say(str(verdict))
    for path in written:
        _say(f"written: {path}")


@app.command("coordinate-check")
def coordinate_check(
    file: ProblemFile,
    out: Annotated[Path | None, _option("Figure of the changes to write.")] = None,
    changes: Changes = None,
):
    """Hold fitted powers of the width of a deep network's signals against the derived ones; exit status 1 if one of them fails."""
    out = out and require_writable("out", out)
    stated = problem_file.read(file, _parsed(changes))
    problem = stated.problem
    check = dmft.coordinate_check(problem.network, problem.data, problem.training, **stated.coordinate_check)
    _say(str(check))
    if out:
        dmft.plot.coordinates(check).figure.savefig(out)
        _say(f"written: {out}")
    if not check.passed:
        raise typer.Exit(1)


@app.command()
def resume(
    file: RunFile,
    steps: Annotated[int | None, _option("Total number of steps to reach.")] = None,
    time: Annotated[float | None, _option("Time to reach, of a gradient flow.")] = None,
):
    """Continue a stored trajectory to more steps, or a longer time, in its file."""
    _show_trajectory(dmft.resume(file, steps=steps, time=time), file)


@app.command()
def plot(
    file: RunFile,
    networks: Annotated[
        Path | None, typer.Argument(metavar="[NETWORKS.h5]", show_default=False, help="Networks to draw beside a trajectory.")
    ] = None,
    out: Annotated[Path | None, _option("Figure to write. [default: RUN.png]")] = None,
):
    """Draw what a file holds: losses with correlations, outputs and tangent kernel, or kernels of all layers; losses of finite networks."""
    out = require_writable("out", out or file.with_suffix(".png"))
    result = dmft.load(file)
    if isinstance(result, dmft.Ensemble):
        if networks is not None:
            raise ValueError(f"RUN.h5 must hold a trajectory where NETWORKS.h5 is given; {file} holds networks")
        figure = dmft.plot.loss(ensemble=result).figure
    else:
        figure = dmft.plot.overview(result, networks and _loaded(networks, dmft.Ensemble))
    figure.savefig(out)
    _say(f"written: {out}")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="Figure to draw; --list names them.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures and about how long each takes.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Draw every figure.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("."),
):
    """Draw a figure of a paper."""
    from . import figures

    if list_ or not (name or all_):
        rows = [(known, _duration(figures.cpu_seconds(known)), figures.describe(known)) for known in figures.FIGURES]
        terminal.show(terminal.console(), ("figure", "CPU time", "shows"), rows, fold=True)
        _say("CPU times are approximate: one run on one core of a server, kernels compiled before.")
        return
    drawings = {known: figures.function(known) for known in (figures.FIGURES if all_ else (name,))}
    require_folder("out", out, create=True)
    for known, draw in drawings.items():
        _say(f"{known}: takes about {_duration(figures.cpu_seconds(known))} of CPU time")
        figure = draw()
        figure.savefig(out / f"{known}.png")
        _say(f"written: {out / known}.png")
        if hasattr(figure, "verdict"):
            _say(figure.verdict)


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


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
        terminal.show(terminal.console(), header, body)
        terminal.prose(terminal.console(), report.caption(derivation, report.terse))


@app.command()
def analyze(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="Such as mup or ip-llr.")] = None,
    depth: Annotated[int | None, _option("Number of hidden layers, with NAME. [default: 3]")] = None,
    activation: Annotated[str, typer.Option(help="Name such as relu, tanh, gelu, or class of activations.")] = "relu",
    a: Annotated[str | None, _option("Exponents a, one per weight matrix: 0,1/2,1/2")] = None,
    b: Annotated[str | None, _option("Exponents b.")] = None,
    c: Annotated[str | None, _option("Exponents c.")] = None,
    c_later: Annotated[str | None, _option("Exponents c from the second step on. [default: c]")] = None,
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
        out = terminal.console()
        terminal.prose(out, [str(chosen)])
        terminal.show(out, deep_report.header(), deep_report.rows(analysis.result))
        terminal.prose(out, [*deep_report.caption(analysis.result), *deep_report.reasons(analysis.result)])


@app.command()
def info(file: RunFile):
    """Describe a file written by dmft."""
    from .storage import info

    _say(info(file))


@app.command()
def about():
    """Print versions, threads and BLAS, for bug reports."""
    _say(str(dmft.about()))


def _parsed(changes):
    """Changes of a problem, by dotted names, from texts NAME=VALUE."""
    parsed = {}
    for text in changes or ():
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or not value:
            raise ValueError(f"set must be NAME=VALUE, such as training.learning_rate=0.1; got {text!r}")
        if name in parsed:
            raise ValueError(f"set must name {name} once; got {text!r} too")
        try:
            found = tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError as error:
            if not _BARE_WORD.fullmatch(value):
                raise ValueError(f"set must give {name} a value of TOML, such as 0.1, [1, 2] or \"text\"; got {value!r}") from error
            found = {"value": value}
        if len(found) > 1:
            raise ValueError(f"set must give {name} one value; got {value!r}")
        parsed[name] = found["value"]
    return parsed


def _beside(file):
    """Where the networks of a problem or of a trajectory are stored."""
    return file.with_name(f"{file.stem}-networks.h5")


def _solved_file(file, stated):
    """Where the trajectory of a problem is stored."""
    return Path(checks.text("out", f"{file.stem}.h5" if stated.out is None else stated.out))


def _require_free(path, overwrite, kind):
    """Raise, before any work, the error with which writing a result of this kind to `path` would end."""
    from . import storage

    storage.require_writable(path, {dmft.Trajectory: storage.TRAJECTORY, dmft.Ensemble: storage.ENSEMBLE}[kind])
    if path.exists() and not overwrite:
        use = {
            dmft.Trajectory: f"hold it against networks with dmft compare {path}, continue it with dmft resume",
            dmft.Ensemble: f"hold a trajectory against it with dmft compare RUN.h5 {path}",
        }
        raise StorageError(f"{path} exists: {use[kind]}, write elsewhere with --out, or replace it with --overwrite")


def _solved(stated, path, overwrite):
    return dmft.solve(stated.problem, out=str(path), overwrite=overwrite)


def _simulated(stated, options, path):
    """Networks of a problem, or of a trajectory, in a file."""
    from .storage import save

    try:
        ensemble = dmft.simulate(stated.network, stated.data, stated.training, **options)
    except Interrupted as stop:
        if stop.result is not None:
            save(stop.result, path)
            raise Interrupted(f"{str(stop).partition(';')[0]}, in {path}", stop.result) from None
        raise
    save(ensemble, path)
    return ensemble


def _loaded(file, kind):
    result = dmft.load(file)
    if not isinstance(result, kind):
        named = {dmft.Trajectory: "a trajectory", dmft.Ensemble: "networks"}
        raise ValueError(f"{file} must hold {named.pop(kind)}; it holds {next(iter(named.values()))}")
    return result


def _written(trajectory, path):
    """Where a trajectory is that was to be written to `path`."""
    path = trajectory.report.get("written_to", path)
    if path is None:
        raise StorageError("the trajectory could not be written to any file, and is lost")
    return path


def _show_trajectory(trajectory, path):
    _say(str(trajectory))
    _show_losses(trajectory)
    _say(f"written: {_written(trajectory, path)}")


def _show_losses(trajectory=None, ensemble=None, verdict=None):
    """Losses at a few times, or the size of the function where there is none: theory, networks (mean ± standard error) and z-score."""
    given = {label: result for label, result in (("theory", trajectory), ("networks", ensemble)) if result is not None}
    names = [name for name in ("test", "train") if all(name in losses(result) for result in given.values())]
    scores = {"test": verdict.zscores, "train": verdict.train_zscores} if isinstance(verdict, dmft.Verdict) else {}
    columns = {}
    for name in names or [f"rms {function_name((trajectory or ensemble).options['loss'])}"]:
        for label, result in given.items():
            columns[f"{name} {label}"] = getattr(result, losses(result)[name]) if names else root_mean_square(result.predictions)
        if name in scores:
            columns[f"{name} z"] = scores[name]
    if verdict is not None and not scores:
        columns["amplitude z"] = verdict.zscores
    times = (trajectory or ensemble).times
    rows = [
        [f"{times[t]:.6g}", *(_cell(heading, values[..., t]) for heading, values in columns.items())]
        for t in selection(len(times), _ROWS_SHOWN)
    ]
    terminal.show(terminal.console(), ["step" if times.dtype.kind == "i" else "time", *columns], rows, right=True)


def _cell(heading, values):
    """A z-score, a number of the theory, or the mean over networks and, where all are finite, its standard error."""
    if heading.endswith(" z"):
        return f"{values:+.1f}"
    if np.size(values) == 1 or not np.all(np.isfinite(values)):
        return f"{np.mean(values):.5g}"
    return f"{np.mean(values):.5g} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.1g}"
