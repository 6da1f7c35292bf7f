"""Damaged files: `load` and `info` answer each with the unharmed result or one StorageError, whatever HDF5 does on them.

    python tests/mutants_of_files.py --count 2000

Mutants are made of a file of every kind of result, in the present schema and in schema 1 (which has no checksum of everything, so that
wrong numbers are counted, not forbidden). For speed a persistent worker reads them in its own process instead of one process for each;
what it dies of, hangs on or answers wrongly is asked again, as a user would, in a fresh process, and that answer counts.
"""

import argparse
import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SCHEMA_1 = sorted((ROOT / "tests/storage").glob("schema-1-*.h5"))
SECONDS = 2
GOOD = {"unharmed", "refused"}


def originals(folder):
    """Files of every kind by name: those of schema 1, and the same results in the present schema."""
    import dmft

    files = {}
    for old in SCHEMA_1:
        new = Path(folder) / old.name.replace("schema-1-", "")
        dmft.load(old).save(new)
        files |= {old.name: old, new.name: new}
    return files


def mutant(rng, content, other):
    """The bytes of a file with one harm done to them, and what it was."""
    content, size = bytearray(content), len(content)
    place, length = int(rng.integers(size)), int(rng.integers(1, 600))
    harm = rng.choice(["bit", "block", "zeros", "cut", "grown", "moved", "splice"], p=[0.4, 0.25, 0.05, 0.15, 0.05, 0.05, 0.05])
    if harm == "bit":
        content[place] ^= 1 << int(rng.integers(8))
    elif harm == "block":
        content[place : place + 8] = rng.bytes(8)
    elif harm == "zeros":
        content[place : place + length] = bytes(len(content[place : place + length]))
    elif harm == "cut":
        del content[place:]
    elif harm == "grown":
        content[place:place] = rng.bytes(length)
    else:
        source = content if harm == "moved" else other
        start = int(rng.integers(len(source)))
        content[place : place + length] = source[start : start + length]
    return bytes(content), str(harm)


def mutants(files, seed, count):
    """Yields names, bytes and harms; the same for the same seed."""
    rng = np.random.default_rng(seed)
    contents = {name: path.read_bytes() for name, path in files.items()}
    names = list(contents)
    for _ in range(count):
        name, other = rng.choice(names, 2)
        changed, harm = mutant(rng, contents[name], contents[other])
        if changed != contents[name]:
            yield str(name), changed, harm


def same(a, b):
    """Whether two results are equal in all that a file holds."""
    numbers = [{name: (array.shape, array.dtype, array.tobytes()) for name, array in result.arrays().items()} for result in (a, b)]
    others = [{name: value for name, value in vars(result).items() if name not in (*numbers[0], "kernels")} for result in (a, b)]
    return type(a) is type(b) and numbers[0] == numbers[1] and others[0] == others[1]


def answer(path, original):
    """How `load` and `info` take a file."""
    import dmft
    from dmft.storage import info

    outcomes = []
    for read in (dmft.load, info):
        try:
            result = read(path)
        except dmft.StorageError as error:
            outcomes.append("refused" if str(path) in str(error) and "\n" not in str(error) else f"message {error}")
        except BaseException as error:
            outcomes.append(f"foreign {type(error).__name__}: {error}")
        else:
            outcomes.append("unharmed" if read is info or same(result, dmft.load(original)) else "silently wrong")
    return outcomes


def serve(directly):
    """Answer requests, pairs of paths as JSON, one a line; a request that takes too much processor time is the end."""
    sys.path.insert(0, str(ROOT))
    from dmft import apart, storage

    apart._SECONDS = SECONDS
    if directly:
        storage.apart = lambda function, path, *arguments: function(path, *arguments)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        outcomes = answer(*json.loads(line))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(json.dumps(outcomes), flush=True)


class Worker:
    """A process that serves, started anew after its death."""

    def __init__(self, directly):
        self.directly, self.process = directly, None

    def ask(self, *paths):
        """Outcomes of load and info, or what became of the worker, twice."""
        if self.process is None:
            code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import mutants_of_files as m; m.serve({self.directly})"
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
            self.process = subprocess.Popen([sys.executable, "-c", code], **pipes)
        print(json.dumps([str(path) for path in paths]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        return json.loads(line) if line else 2 * ["hang" if self.close() == -signal.SIGVTALRM else "crash"]

    def close(self):
        """Exit status."""
        if self.process is not None:
            self.process.communicate()
            status, self.process = self.process.returncode, None
            return status


def survey(folder, seed, count, directly=True):
    """Count outcomes of load and info.

    Returns
    -------
    counts : Counter
        By "present" or "schema 1", the name of the reader and the outcome; and of what was contained.
    failures : list of str
        Mutants with an outcome that must not be.
    """
    files = originals(folder)
    counts, failures = collections.Counter(), []
    worker, user = Worker(directly), Worker(False)
    path = Path(folder) / "mutant.h5"
    try:
        for number, (name, content, harm) in enumerate(mutants(files, seed, count)):
            path.write_bytes(content)
            outcomes = worker.ask(path, files[name])
            if not set(outcomes) <= GOOD:
                if outcomes[0] in ("crash", "hang"):
                    counts[f"contained: {outcomes[0]}"] += 1
                outcomes = user.ask(path, files[name])
            age = "schema 1" if name.startswith("schema-1") else "present"
            for reader, outcome in zip(("load", "info"), outcomes):
                counts[f"{age}: {reader} {outcome}"] += 1
                if outcome not in GOOD and (age, outcome) != ("schema 1", "silently wrong"):
                    failures.append(f"mutant {number} of {name} ({harm}): {reader} {outcome}")
    finally:
        worker.close()
        user.close()
    return counts, failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--apart", action="store_true", help="read every mutant as a user would; takes a second for each")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        found, wrong = survey(temporary, given.seed, given.count, not given.apart)
    for outcome, times in sorted(found.items()):
        print(f"{times:6d}  {outcome}")
    print("\n".join(wrong))
    sys.exit(bool(wrong))
