"""Speed, accuracy and memory of the solvers, side by side in one run; prints the tables of the README.

    python tests/benchmarks/speed.py [--quick]

Times are CPU seconds of one thread, the best of the repetitions, after compilation.
Peak memory is that of a fresh process, less what it holds after compiling. The finite network is timed over fewer steps and scaled.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))

import dmft  # noqa: E402

RATE, SAMPLE_RATIO, NOISE = 0.05, 2.0, 0.2
FINITE_STEPS = 20


def problem(depth, steps):
    return dmft.DeepLinear(depth=depth), dmft.GaussianData(SAMPLE_RATIO, NOISE), dmft.GradientDescent(RATE, steps)


def causal(depth, steps):
    trajectory = dmft.solve(*problem(depth, steps), progress=False)
    return np.array([trajectory.test_loss, trajectory.train_loss])


def plain(depth, steps):
    import yardstick

    return yardstick.march(steps, depth, RATE, 1.0, 1.0, SAMPLE_RATIO, NOISE**2)


def twin(depth, steps):
    trajectory = dmft.solve(*problem(depth, steps), method="reference")
    return np.array([trajectory.test_loss, trajectory.train_loss])


def fixed_point(depth, steps):
    trajectory = dmft.solve(*problem(depth, steps), method="fixed-point", progress=False)
    return np.array([trajectory.test_loss, trajectory.train_loss])


def network(depth, steps):
    net, data, _ = problem(depth, 1)
    net = dmft.DeepLinear(depth=depth, width_ratio=2.0)
    dmft.simulate(net, data, dmft.GradientDescent(RATE, FINITE_STEPS), dim=2000, seeds=1, progress=False)


METHODS = {f.__name__: f for f in (causal, plain, twin, fixed_point, network)}


def timed(function, *arguments):
    began = time.process_time()
    result = function(*arguments)
    return time.process_time() - began, result


def peak(name, depth, steps):
    """Peak memory in MiB of one call in a fresh process, beyond what the process holds after compiling."""
    command = [sys.executable, __file__, "--peak", name, str(depth), str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _print_peak(name, depth, steps):
    METHODS[name](1, 8)
    before = _status("VmRSS")
    METHODS[name](int(depth), int(steps))
    print(_status("VmHWM") - before)


def _status(key):
    """Memory of this process in MiB: "VmRSS" now, "VmHWM" at its peak (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**10


def march_table(rows, depths, repetitions):
    """The march against the plain numba march and the numpy twin."""
    print("| T | L | march | plain numba march | ratio | numpy twin | ratio | error | memory: march, plain, twin |")
    print("|---|---|---|---|---|---|---|---|---|")
    for T in rows:
        for depth in depths:
            times = {"causal": [], "plain": [], "twin": []}
            for _ in range(repetitions if T <= 500 else 1):
                for name in times:
                    if name == "twin" and T > 1000:
                        continue
                    seconds, losses = timed(METHODS[name], depth, T - 1)
                    times[name].append(seconds)
                    if name == "causal":
                        solved = losses
                    elif name == "plain":
                        error = np.abs(solved - losses).max()
            march, plain_, *rest = (min(values) for values in times.values() if values)
            twin_cells = f"{rest[0]:.3g} s | {rest[0] / march:.0f}" if rest else "| "
            memory = ", ".join(f"{peak(name, depth, T - 1):.0f}" for name in times if times[name])
            print(
                f"| {T} | {depth} | {march:.3g} s | {plain_:.3g} s | {plain_ / march:.1f} | {twin_cells} | {error:.0e} | {memory} MiB |",
                flush=True,
            )


def fixed_point_table(rows, depths):
    """The march against the fixed point in windows, and one finite network."""
    print("| T | L | march | fixed point | ratio | error | memory: fixed point | one network, D = 2000, ν = 2 | ratio | its memory |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for depth in depths:
        per_step = timed(network, depth, 0)[0] / FINITE_STEPS
        memory = peak("network", depth, 0)
        for T in rows:
            (march, solved), (fixed, losses) = timed(causal, depth, T - 1), timed(fixed_point, depth, T - 1)
            error = np.abs(solved - losses).max()
            print(
                f"| {T} | {depth} | {march:.3g} s | {fixed:.3g} s | {fixed / march:.1f} | {error:.0e} | {peak('fixed_point', depth, T - 1):.0f} MiB "
                f"| {per_step * T:.3g} s | {per_step * T / march:.0f} | {memory:.0f} MiB |",
                flush=True,
            )


def start_table():
    """First call of a process, with an empty and with a filled cache of compiled kernels."""
    command = "import time; t = time.perf_counter(); import dmft; "
    command += "dmft.solve(dmft.DeepLinear(2), dmft.GaussianData(2.0), dmft.GradientDescent(0.05, 8), progress=False); print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        seconds = [
            subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True).stdout for _ in range(2)
        ]
    print(f"import and first solve: {float(seconds[0]):.1f} s with an empty cache, {float(seconds[1]):.2f} s in every later process")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="T up to 500 only")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        return _print_peak(*arguments.peak)
    rows = (200, 500) if arguments.quick else (200, 500, 1000, 2000)
    with threadpool_limits(1, user_api="blas"):
        for function in METHODS.values():
            function(1, 8)
        start_table()
        march_table(rows, (1, 3), repetitions=5)
        fixed_point_table(rows[:3], (1, 3))


if __name__ == "__main__":
    main()
