"""Own data sets in files: numpy archives, numpy arrays and tables of comma-separated values."""

import csv
from pathlib import Path

import numpy as np

from .checks import fail, path as checked_path
from .data import Dataset

_REQUIRED, _OPTIONAL = ("x", "y"), ("test_x", "test_y")


def read(file, *, target=None, test_file=None):
    """A `Dataset` in a file.

    Parameters
    ----------
    file : path
        ``.npz``: the arrays x, shape (P, D), y, shape (P,) or (P, C), and, with test points, test_x and test_y; others are not read.
        ``.csv``: a row of numbers for every sample, with or without a first line of column names; inputs are all columns but the label.
        Neither is ever unpickled or run.
    target : str or sequence of str, optional
        Of a ``.csv`` file with column names, the column of the labels; of several, y has shape (P, C). Default: the last column.
    test_file : path, optional
        Second ``.csv`` file, of the same columns, with the test points.

    Returns
    -------
    Dataset

    Raises
    ------
    OSError
        If a file cannot be opened.
    ValueError, TypeError
        If a file is damaged or of another kind, an array or column is missing, a cell is no number, or the arrays are no data set;
        the message names the file and what is wrong.

    Examples
    --------
    >>> import numpy as np, dmft
    >>> np.savez("own.npz", x=np.eye(4), y=[1.0, 1.0, -1.0, -1.0])
    >>> dmft.datasets.read("own.npz").x.shape
    (4, 4)
    """
    file = _regular("file", file)
    if file.suffix == ".npz":
        for name, given in (("target", target), ("test_file", test_file)):
            if given is not None:
                fail(name, given, f"left out with {file.name}: an .npz file holds the arrays x, y, test_x and test_y")
        return Dataset(**_archive(file))
    if file.suffix != ".csv":
        fail("file", str(file), "an .npz or .csv file")
    names, rows = _table(file)
    columns = _target_columns(file, names, target, rows.shape[1])
    x, y = _parted(rows, columns)
    if test_file is None:
        return Dataset(x, y)
    test_file = _regular("test_file", test_file)
    test_names, test_rows = _table(test_file)
    if (test_names, test_rows.shape[1]) != (names, rows.shape[1]):
        raise ValueError(f"test_file must have the columns of {file}; {test_file} has others")
    return Dataset(x, y, *_parted(test_rows, columns))


def array(name, file):
    """The array in an ``.npy`` file, of the argument `name`; never unpickled. Raises as `read` does."""
    file = _regular(name, file)
    if file.suffix != ".npy":
        fail(name, str(file), "an .npy file, or an array")
    return _loaded(file)


def _regular(name, file):
    """The path of a file that can be read without waiting for another program."""
    path = Path(checked_path(name, file))
    if path.exists() and not path.is_file():
        fail(name, str(path), "a regular file")
    return path


def _archive(file):
    """The arrays of a data set in an ``.npz`` file."""
    stored = _loaded(file)
    if isinstance(stored, np.ndarray):
        raise ValueError(f"{file} is a single array and no .npz archive; rename it to .npy, and write one with numpy.savez(file, x=x, y=y)")
    with stored:
        missing = [name for name in _REQUIRED if name not in stored]
        if missing:
            held = ", ".join(map(repr, stored)) or "none"
            raise ValueError(f"{file} must hold the arrays x and y, and may hold test_x and test_y; it holds {held}")
        try:
            return {name: stored[name] for name in (*_REQUIRED, *_OPTIONAL) if name in stored}
        except Exception as error:
            raise _damaged(file, error) from error


def _loaded(file):
    try:
        return np.load(file, allow_pickle=False)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(file, error) from error
    except Exception as error:
        raise _damaged(file, error) from error


def _damaged(file, error):
    return ValueError(f"{file} cannot be read as {file.suffix}: it is damaged, or holds Python objects ({error})")


def _table(file):
    """Column names, or None, and the numbers of a table, shape (rows, columns)."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no table of comma-separated values: {error}") from error
    names = None
    if lines and not all(map(_is_number, lines[0][1])):
        names = [cell.strip() for cell in lines.pop(0)[1]]
        if "" in names or any(map(_is_number, names)):
            raise ValueError(f"{file}: the first line must be numbers, or a name for every column; got {', '.join(map(repr, names))}")
    if not lines:
        raise ValueError(f"{file} has no rows of numbers")
    columns = len(names or lines[0][1])
    numbers = np.empty((len(lines), columns))
    for row, (line, cells) in zip(numbers, lines):
        if len(cells) != columns:
            raise ValueError(f"{file}, line {line}: {columns} columns are needed, separated by commas; got {len(cells)}")
        for i, cell in enumerate(cells):
            if not _is_number(cell):
                column = repr(names[i]) if names else i + 1
                raise ValueError(f"{file}, line {line}, column {column}: a number is needed; got {cell!r}")
            row[i] = float(cell)
    return names, numbers


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _target_columns(file, names, target, columns):
    """Indices of the columns of the labels: one, or a list of those of several outputs."""
    if columns < 2:
        raise ValueError(f"{file} must have two columns or more, inputs and label; it has {columns}")
    if target is None:
        return columns - 1
    wanted = [target] if isinstance(target, str) else target
    if not isinstance(wanted, (list, tuple)) or not wanted or not all(isinstance(name, str) for name in wanted):
        fail("target", target, "the name of a column, or a list of names", TypeError)
    if names is None:
        raise ValueError(f"target must be left out: the first line of {file} is numbers, so that its columns have no names; got {target!r}")
    for name in wanted:
        if names.count(name) != 1:
            fail("target", name, f"the name of one column of {file}, which has {', '.join(names)}")
    if len(set(wanted)) == columns:
        fail("target", target, f"fewer than all columns of {file}, as inputs must be left")
    return names.index(target) if isinstance(target, str) else [names.index(name) for name in wanted]


def _parted(rows, columns):
    return np.delete(rows, columns, axis=1), rows[:, columns]
