"""The causal march of deep linear networks against plain loops and against the memory of the machine, as ratios in one run.

    python tests/benchmarks/march.py [--quick]

CPU seconds of one thread, the least of a few repetitions side by side. The yardstick is `yardstick.march`, the same march written plainly
with vectorised loops. Without --quick: up to T = 4000, some minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))

import dmft  # noqa: E402
import yardstick  # noqa: E402
from dmft.theories import deep_linear  # noqa: E402
from solvers import causal_linear  # noqa: E402

RATE, SAMPLE_RATIO, NOISE = 0.05, 2.0, 0.2


def problem(depth, rows, rate=RATE):
    return dmft.DeepLinear(depth=depth), dmft.GaussianData(SAMPLE_RATIO, NOISE), dmft.GradientDescent(rate, rows - 1)


def solve(depth, rows, rate=RATE):
    return dmft.solve(*problem(depth, rows, rate), progress=False)


def plain(depth, rows, rate=RATE):
    return yardstick.march(rows - 1, depth, rate, 1.0, 1.0, SAMPLE_RATIO, NOISE**2)


def seconds(function, *arguments):
    began = time.process_time()
    function(*arguments)
    return time.process_time() - began


def cold_start():
    """CPU seconds of a process that imports and solves for the first time on a machine, and of the next one."""
    command = "import dmft; dmft.solve(dmft.DeepLinear(2), dmft.GaussianData(2.0), dmft.GradientDescent(0.05, 8), progress=False)"
    command += "; import time; print(time.process_time())"
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        outputs = [subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True) for _ in range(2)]
    return [float(output.stdout) for output in outputs]


def against_plain(depth, rows, rate=RATE):
    """CPU seconds of `solve` and of the plain march, and the largest difference of the test losses."""
    repetitions = max(1, min(20, int(1e9 / rows**3)))
    times = np.array([(seconds(solve, depth, rows, rate), seconds(plain, depth, rows, rate)) for _ in range(repetitions)]).min(axis=0)
    error = np.abs(solve(depth, rows, rate).test_loss - plain(depth, rows, rate)[0]).max() if rows <= 1000 else np.nan
    print(f"L = {depth}, T = {rows}, rate {rate:.3g}: solve {times[0]:.3g} s, plain {times[1]:.3g} s", end="")
    print(f", ratio {times[0] / times[1]:.2f}, error {error:.0e}", flush=True)


def largest_stable_rate(depth, rows=400):
    """By bisection."""
    stable, unstable = RATE, 2.0
    while unstable > 1.01 * stable:
        middle = np.sqrt(stable * unstable)
        if solve(depth, rows, middle).status is dmft.Status.COMPLETED:
            stable = middle
        else:
            unstable = middle
    return stable


@njit(cache=True, fastmath=True)
def _sum(numbers):
    total = 0.0
    for i in range(len(numbers)):
        total += numbers[i]
    return total


def stream():
    """Bytes per CPU second that one thread reads from memory."""
    numbers = np.ones(2**26)
    _sum(numbers[:1])
    return numbers.nbytes / min(seconds(_sum, numbers) for _ in range(5))


def reads(history, products, row):
    """Numbers that the products of one row read from the history."""
    columns, finished = row * history.outputs, history.finished
    near = (columns + finished) * (columns - finished) // 2
    far = []
    for start, stop in zip(history.starts, history.starts[1:]):
        row, rows, column, width, rank, _ = history.blocks[start:stop].T
        dense = np.where(row == column, rows * width // 2, rows * width)
        far.append(np.sum(np.where(rank < 0, dense, rank * (rows + width))))
    return sum(near + (far[m] if finished else 0) for m in products)


def against_memory(depth, rows):
    """CPU seconds of the march, and the bytes that its products read."""
    stated = deep_linear.problem(*problem(depth, rows))
    responses = [response for field in causal_linear.equations(stated) for response in field.responses if response.scale]
    products = [m for r in responses for m in (r.left, r.place, r.source.matrix) if m >= 0]
    numbers, done, used, spent = 0, 0, causal_linear.start(stated).history, 0.0
    blocks = causal_linear.march(stated)
    while done < rows:
        began = time.process_time()
        state, stop, _ = next(blocks)
        spent += time.process_time() - began
        numbers += sum(reads(used, products, row) for row in range(done + 1, stop + 1))
        done, used = stop, state.history
    return spent, 8 * numbers


def batch(depth, rows, points=200):
    """CPU seconds of solves at many learning rates, and of one call for all of them."""
    problems = [problem(depth, rows, rate) for rate in np.linspace(0.2, 1.0, points) * RATE]
    one_by_one = sum(seconds(lambda: dmft.solve(*stated, progress=False)) for stated in problems)
    return one_by_one, seconds(lambda: causal_linear.losses([deep_linear.problem(*stated) for stated in problems]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="T up to 500 only")
    quick = parser.parse_args().quick
    with threadpool_limits(1, user_api="blas"):
        print("import and first solve: {:.1f} CPU s with an empty cache, {:.2f} s in every later process".format(*cold_start()))
        for function in (solve, plain):
            function(1, 700)
        for rows in (20, 80, 200, 500) if quick else (20, 80, 200, 500, 1000, 1500):
            for depth in (1, 3) if rows > 200 else (1, 2, 3):
                against_plain(depth, rows)
        for depth in (1, 2, 3):
            solves, one_call = batch(depth, 80)
            print(f"L = {depth}, T = 80, 200 points: {solves:.3g} s, in one call {one_call:.3g} s, ratio {solves / one_call:.1f}")
        if not quick:
            against_plain(3, 2000, 0.9 * largest_stable_rate(3))
            for depth, rows in ((1, 2000), (3, 4000)):
                spent, read = against_memory(depth, rows)
                streaming = read / stream()
                print(f"L = {depth}, T = {rows}: {spent:.3g} s, to stream what it reads, {read / 2**30:.0f} GiB, {streaming:.3g} s", end="")
                print(f", ratio {spent / streaming:.2f}", flush=True)


if __name__ == "__main__":
    main()
