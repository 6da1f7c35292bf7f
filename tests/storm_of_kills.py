"""Processes that write a file are killed at random moments: what is left loads, with exactly the rows that were finished.

    python tests/storm_of_kills.py --count 200

Every victim solves the same problem into its file again and again, saves the trajectory over it and resumes it, writing all the time.
"""

import argparse
import collections
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
TOGETHER = 2
VICTIM = """
import sys
import dmft
from dmft import storage
from storm_of_kills import problem, resumed
storage._PAUSE = storage._PAUSE_PER_WRITE = 0
path = sys.argv[1]
print("ready", flush=True)
while True:
    solved = dmft.solve(*problem(), progress=False, out=path, overwrite=True)
    resumed(solved, path)
"""


def problem():
    import dmft

    return dmft.DeepLinear(depth=1), dmft.GaussianData(sample_ratio=1.5), dmft.GradientDescent(learning_rate=0.1, steps=300)


def resumed(solved, path):
    """The trajectory again, from row 100 on; equal up to rounding."""
    import dmft

    dataclasses.replace(solved, status=dmft.Status.INTERRUPTED, finished=100).save(path)
    return dmft.resume(path, steps=solved.training.steps, progress=False)


def start(path):
    path.parent.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    return subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE, text=True, env=environment)


def fault(path, references):
    """What is wrong with a file after the death of its writer, or None; and its state in words."""
    import dmft

    try:
        kept = dmft.load(path)
    except dmft.StorageError as error:
        return str(error), "lost"
    left = os.listdir(path.parent)
    if left != ["run.h5"]:
        return f"left behind: {left}", "leftovers"
    exact = any(equal(kept, reference) for reference in references)
    return (None if exact else f"{kept.finished} rows that are not those of the solve"), kept.status.value


def equal(kept, reference):
    """Whether finished rows are those of another trajectory, bit for bit."""
    rows = np.s_[..., : kept.finished, : kept.finished]
    return np.array_equal(kept.test_loss[: kept.finished], reference.test_loss[: kept.finished]) and all(
        np.array_equal(kernel[rows], np.tril(reference.kernels[name])[rows]) for name, kernel in kept.kernels.items()
    )


def storm(folder, count, seed):
    """Kill so many writers.

    Returns
    -------
    counts : Counter
        States of the files, and how many writers died within a write.
    failures : list of str
    """
    import dmft

    solved = dmft.solve(*problem(), progress=False)
    references = [solved, resumed(solved, Path(folder) / "reference.h5")]
    rng = np.random.default_rng(seed)
    counts, failures = collections.Counter(), []
    for first in range(0, count, TOGETHER):
        paths = [Path(folder) / f"{number}" / "run.h5" for number in range(first, min(first + TOGETHER, count))]
        victims = [start(path) for path in paths]
        for victim, path in zip(victims, paths):
            victim.stdout.readline()
            while not path.exists() and victim.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            alive = victim.poll() is None
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            counts["within a write"] += (path.parent / ".run.h5.partial").exists()
            wrong, state = fault(path, references)
            counts[state] += 1
            if wrong or not alive:
                failures.append(f"{path}: {wrong or 'its writer had ended before'}")
    return counts, failures


def continued(folder, count):
    """The shortest trajectory that a storm has left, resumed; and one solve of as many steps."""
    import dmft

    kept = {path: dmft.load(path).finished for number in range(count) for path in [Path(folder) / f"{number}" / "run.h5"]}
    network, data, training = problem()
    longer = dataclasses.replace(training, steps=320)
    return dmft.resume(min(kept, key=kept.get), steps=320, progress=False), dmft.solve(network, data, longer, progress=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as temporary:
        found, wrong = storm(temporary, given.count, given.seed)
        longer, whole = continued(temporary, given.count)
    if np.abs(longer.test_loss - whole.test_loss).max() > 1e-12 * whole.test_loss.max():
        wrong.append("the resumed trajectory is not that of one solve")
    for outcome, times in sorted(found.items()):
        print(f"{times:6d}  {outcome}")
    print("\n".join(wrong))
    sys.exit(bool(wrong))
