"""Own data in files: what is read is what was written, and every fault of a file is named."""

import os

import numpy as np
import pytest

import dmft
from dmft import problem_file

X, Y = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.5]]), np.array([1.0, -1.0, 1.0])
HEAD = 'network = { type = "MLP", depth = 1 }\ntraining = { type = "GradientDescent", learning_rate = 0.1, steps = 2 }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


def test_archive_holds_samples_and_test_points():
    np.savez("own.npz", x=X, y=Y, test_x=2 * X, test_y=-Y, names=np.array(["not read"]))
    assert dmft.datasets.read("own.npz") == dmft.Dataset(X, Y, 2 * X, -Y)
    np.savez_compressed("outputs.npz", x=X.astype(np.float32), y=np.eye(3, dtype=int))
    assert dmft.datasets.read("outputs.npz") == dmft.Dataset(X, np.eye(3))


@pytest.mark.parametrize("head", ["", "a,b,label\n", "\ufeffa,b,label\r\n", '"a","b, c",label\n'])
def test_table_has_its_label_in_the_last_column_or_where_it_is_said(head):
    write("own.csv", head + "0,1,1\n2, 3,-1\n\n4,5.5,1e0\n")
    assert dmft.datasets.read("own.csv") == dmft.Dataset(X, Y)
    if head:
        assert dmft.datasets.read("own.csv", target="a") == dmft.Dataset(np.stack((X[:, 1], Y), axis=1), X[:, 0])
        assert dmft.datasets.read("own.csv", target=["label", "a"]) == dmft.Dataset(X[:, 1:], np.stack((Y, X[:, 0]), axis=1))


def test_table_of_test_points_has_the_same_columns():
    write("own.csv", "a,b,label\n0,1,1\n2,3,-1\n4,5.5,1\n")
    write("test.csv", "a,b,label\n7,8,9\n")
    data = dmft.datasets.read("own.csv", test_file="test.csv", target="b")
    assert data == dmft.Dataset(np.stack((X[:, 0], Y), axis=1), X[:, 1], [[7.0, 9.0]], [8.0])
    write("test.csv", "b,a,label\n7,8,9\n")
    with pytest.raises(ValueError, match="test_file must have the columns of own.csv; test.csv has others"):
        dmft.datasets.read("own.csv", test_file="test.csv")


def archive(name="own.npz", **arrays):
    return lambda: np.savez(name, **arrays)


def bytes_of(name, content):
    def make():
        with open(name, "wb") as file:
            file.write(content)

    return make


def table(text, name="own.csv"):
    return bytes_of(name, text.encode())


def torn():
    np.savez("own.npz", x=X, y=Y)
    with open("own.npz", "rb+") as file:
        file.truncate(200)


def flipped():
    np.savez("own.npz", x=X, y=Y)
    with open("own.npz", "rb+") as file:
        file.seek(180)
        file.write(b"\xff\x00\xff")


BAD = {
    "missing": (None, {"file": "own.npz"}, OSError, "No such file or directory: 'own.npz'"),
    "another kind": (table("1,2", "own.txt"), {"file": "own.txt"}, ValueError, "file must be an .npz or .csv file; got 'own.txt'"),
    "no path": (None, {"file": 3}, TypeError, "file must be a path .*; got 3"),
    "folder": (lambda: os.mkdir("own.csv"), {"file": "own.csv"}, ValueError, "file must be a regular file; got 'own.csv'"),
    "fifo": (lambda: os.mkfifo("own.npz"), {"file": "own.npz"}, ValueError, "file must be a regular file; got 'own.npz'"),
    "names of others": (
        archive(x_train=X, y_train=Y),
        {"file": "own.npz"},
        ValueError,
        "own.npz must hold the arrays x and y, and may hold test_x and test_y; it holds 'x_train', 'y_train'",
    ),
    "objects": (archive(x=np.array([{}], dtype=object), y=Y), {"file": "own.npz"}, ValueError, "own.npz cannot be read as .npz"),
    "torn": (torn, {"file": "own.npz"}, ValueError, "own.npz cannot be read as .npz: it is damaged"),
    "flipped": (flipped, {"file": "own.npz"}, ValueError, "own.npz cannot be read as .npz: it is damaged"),
    "empty": (bytes_of("own.npz", b""), {"file": "own.npz"}, ValueError, "own.npz cannot be read as .npz"),
    "pickle": (bytes_of("own.npz", b"\x80\x04N."), {"file": "own.npz"}, ValueError, "own.npz cannot be read as .npz"),
    "shapes": (archive(x=X, y=Y[:2]), {"file": "own.npz"}, ValueError, "y must be an array of shape"),
    "target of an archive": (archive(x=X, y=Y), {"file": "own.npz", "target": "y"}, ValueError, "target must be left out with own.npz"),
    "empty table": (table(""), {"file": "own.csv"}, ValueError, "own.csv has no rows of numbers"),
    "names only": (table("a,b\n"), {"file": "own.csv"}, ValueError, "own.csv has no rows of numbers"),
    "bad cell": (table("a,b\n1,2\n3,n/a\n"), {"file": "own.csv"}, ValueError, "own.csv, line 3, column 'b': a number is needed; got 'n/a'"),
    "bad first cell": (table("1,n/a\n3,4\n"), {"file": "own.csv"}, ValueError, "first line must be numbers, or a name for every column"),
    "index without a name": (table(",a,b\n0,1,2\n"), {"file": "own.csv"}, ValueError, "or a name for every column; got '', 'a', 'b'"),
    "ragged": (table("1,2\n3,4,5\n"), {"file": "own.csv"}, ValueError, "own.csv, line 2: 2 columns are needed, separated by commas; got 3"),
    "semicolons": (table("1;2\n3;4\n"), {"file": "own.csv"}, ValueError, "own.csv"),
    "one column": (table("1\n2\n"), {"file": "own.csv"}, ValueError, "own.csv must have two columns or more"),
    "infinite": (table("1,2\ninf,4\n"), {"file": "own.csv"}, ValueError, "x must"),
    "binary": (bytes_of("own.csv", b"\xff\xfe\x00,\x80"), {"file": "own.csv"}, ValueError, "own.csv is no table of comma-separated values"),
    "no such column": (table("a,b\n1,2\n"), {"file": "own.csv", "target": "c"}, ValueError, "target must be the name of one .* a, b"),
    "ambiguous column": (table("a,a,b\n1,2,3\n"), {"file": "own.csv", "target": "a"}, ValueError, "target must be the name of one column"),
    "no names": (table("1,2\n"), {"file": "own.csv", "target": "b"}, ValueError, "target must be left out: the first line .* is numbers"),
    "number as target": (table("a,b\n1,2\n"), {"file": "own.csv", "target": 1}, TypeError, "target must be the name of a column"),
    "all columns": (table("a,b\n1,2\n"), {"file": "own.csv", "target": ["a", "b"]}, ValueError, "target must be fewer than all columns"),
}


@pytest.mark.parametrize(("make", "arguments", "error", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_by_name(make, arguments, error, message):
    if make:
        make()
    with pytest.raises(error, match=message):
        dmft.datasets.read(**arguments)


def test_problem_files_name_data_beside_them(folder):
    (folder / "deeper").mkdir()
    np.savez("deeper/own.npz", x=X, y=Y, test_x=2 * X)
    np.save("deeper/x.npy", X)
    np.save("deeper/y.npy", Y)
    write("deeper/own.csv", "a,label\n0,1\n2,-1\n")
    stated = {
        '{ type = "Dataset", file = "own.npz" }': dmft.Dataset(X, Y, 2 * X),
        '{ type = "Dataset", file = "own.csv", target = "a" }': dmft.Dataset([[1.0], [-1.0]], [0.0, 2.0]),
        '{ type = "Dataset", x = "x.npy", y = "y.npy" }': dmft.Dataset(X, Y),
        '{ type = "Dataset", x = "x.npy", y = [1, 2, 3], test_x = "x.npy" }': dmft.Dataset(X, [1.0, 2.0, 3.0], X),
        '{ type = "Dataset", x = [[1.0], [2.0]], y = [0, 1] }': dmft.Dataset([[1.0], [2.0]], [0.0, 1.0]),
    }
    for text, data in stated.items():
        write("deeper/run.toml", f"{HEAD}data = {text}\n")
        assert problem_file.read("deeper/run.toml").problem.data == data


def test_own_data_of_a_deep_linear_network_are_their_covariance_and_target(folder):
    images = dmft.datasets.digits((3, 8))
    np.savez("own.npz", x=images.x, y=images.y)
    data = 'data = { type = "Dataset", file = "own.npz", sample_ratio = 2.0 }\nsimulate = { images = true }\n'
    write("run.toml", HEAD.replace("MLP", "DeepLinear") + data)
    stated = problem_file.read("run.toml")
    assert stated.problem.data == dmft.StructuredData.from_dataset(*images, sample_ratio=2.0)
    assert stated.simulate == {"inputs": dmft.Dataset(*images)}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('file = "own.npz", x = "x.npy"', ValueError, 'data of type "Dataset" with file: x; valid are file, target, test_file'),
        ('x = "x.txt", y = "y.npy"', ValueError, "x must be an .npy file, or an array"),
        ('x = "x.npy"', ValueError, 'data of type "Dataset" must have file, or x and y; got x'),
        ("", ValueError, "must have file, or x and y; got neither"),
        ("file = 3", TypeError, "file must be a string; got 3"),
        ('x = "no.npy", y = "y.npy"', OSError, "No such file"),
        ('file = "own.npz", sample_ratio = 2.0', ValueError, "unknown key .* sample_ratio"),
    ],
)
def test_bad_data_tables_are_refused_by_name(text, error, message):
    np.save("x.npy", X)
    write("run.toml", f'{HEAD}data = {{ type = "Dataset"{", " if text else ""}{text} }}\n')
    with pytest.raises(error, match=message):
        problem_file.read("run.toml")
