"""Kernel evolution: the march against the fixed-point iteration at equal accuracy, time and memory side by side in one run.

    python tests/benchmarks/kernels.py [--quick]

Every measurement is a fresh process on one thread, after a small run that compiles and imports everything; its memory is the growth of
the peak over that. Times are CPU seconds, so that other work on the machine counts little. Errors of the predictions are relative to
the largest one: deep linear, against the other method; sampled, rms over seeds and entries against a march with many samples. The march
is given as few samples as reach the accuracy of the fixed point, and then more.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from solvers import kernel_fixed_point, kernel_linear, kernel_march  # noqa: E402
from solvers.activations import ACTIVATIONS  # noqa: E402
from solvers.kernel_problem import KernelProblem, squared_error  # noqa: E402

SEEDS = 4
TRUTH = {"method": "march", "samples": 2**15, "tolerance": 1e-5, "seed": 99}


def problem(activation, samples, times, layers, rate):
    """x and y standard normal, D = P, seed 0."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(samples, samples)), rng.normal(size=(samples, 1))
    rates = np.full(times - 1, rate)
    return KernelProblem(x @ x.T / samples, squared_error(y), samples, 1, layers, ACTIVATIONS[activation], 1.0, rates)


def predictions(case, method, **options):
    """f (T, P, 1) and a remark."""
    if method == "linear march":
        return kernel_linear.solve(case)[0].predictions, ""
    if method == "linear fixed point":
        order, changes = kernel_fixed_point.solve_linear(case, **options)
        return order.predictions, f"{len(changes)} sweeps"
    if method == "fixed point":
        order, changes = kernel_fixed_point.solve_sampled(case, **options)
        return order.predictions, f"{len(changes)} sweeps"
    steps = list(kernel_march.march(case, outer_kernels=True, **options))
    return np.array([step.predictions for step in steps]), f"rank {max(row.shape[-1] for row in steps[-1].features)}"


def measure(setting):
    """One run in this process: CPU seconds, MB, predictions."""
    options = dict(setting["options"])
    method = options.pop("method")
    warm = dict(options, samples=256) if "samples" in options else options
    predictions(problem(setting["problem"][0], 2, 3, 2, 0.1), method, **warm)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    f, remark = predictions(problem(*setting["problem"]), method, **options)
    seconds = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds, "MB": grown / 1024, "f": f.tolist(), "remark": remark}


def run(case, **options):
    """`measure` in a fresh process."""
    setting = json.dumps({"problem": case, "options": options})
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    command = [sys.executable, __file__, "--one", setting]
    result = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    result["f"] = np.array(result["f"])
    return result


def report(name, results, truth):
    """One line; returns the relative error."""
    error = np.sqrt(np.mean([(r["f"] - truth) ** 2 for r in results])) / np.max(np.abs(truth))
    seconds, memory = (np.mean([r[k] for r in results]) for k in ("seconds", "MB"))
    print(f"  {name:34s} error {error:8.1e}   {seconds:8.3f} s   {memory:8.1f} MB   {results[0]['remark']}", flush=True)
    return error


def linear(samples, times, layers, rate):
    case = ("linear", samples, times, layers, rate)
    print(f"deep linear, P = {samples}, T = {times}, L = {layers}, eta = {rate}")
    march = run(case, method="linear march")
    fixed = {tolerance: run(case, method="linear fixed point", tolerance=tolerance) for tolerance in (1e-4, 1e-12)}
    report("march", [march], fixed[1e-12]["f"])
    for tolerance, result in fixed.items():
        report(f"fixed point, tolerance {tolerance:.0e}", [result], march["f"])


def sampled(activation, samples, times, layers, rate, sizes, fixed_samples):
    case = (activation, samples, times, layers, rate)
    print(f"{activation}, P = {samples}, T = {times}, L = {layers}, eta = {rate}; {SEEDS} seeds")
    truth = run(case, **TRUTH)["f"]
    seeds = range(SEEDS)
    if fixed_samples:
        results = [run(case, method="fixed point", samples=fixed_samples, seed=s) for s in seeds]
        report(f"fixed point, {fixed_samples} samples", results, truth)
    for size in sizes:
        report(f"march, {size} samples", [run(case, method="march", samples=size, seed=s) for s in seeds], truth)
    last = sizes[-1]
    report(f"march, {last} samples, single", [run(case, method="march", samples=last, seed=s, dtype="float32") for s in seeds], truth)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(json.loads(arguments.one))))
        return
    linear(10, 25 if arguments.quick else 50, 5, 0.02)
    sampled("tanh", 3, 8, 3, 0.3, (128, 256, 1024, 4096), 600)
    if not arguments.quick:
        sampled("tanh", 4, 15, 3, 0.2, (128, 512, 4096), 1000)
        sampled("relu", 25, 40, 1, 0.2, (1024, 16384), None)
        sampled("tanh", 10, 100, 3, 0.2, (4096, 16384), None)


if __name__ == "__main__":
    main()
