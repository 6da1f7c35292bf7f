"""Speed of the population of neurons (solvers/particles.py) against plain numpy and against the memory bandwidth, in one run.

    python tests/benchmarks/particles.py [--quick]

P = D = 64, full batch. Plain numpy is the same step with explicit weights in full arrays, with one product forwards and one backwards.
"Copy" is the time in which the machine copies as many bytes as the state (a, h) holds, the least that any step needs that reads and
writes the state once. Times are the best of the repetitions, after compilation; BLAS has as many threads as stated in plain numpy, and one
inside of the population. A busy machine shows in the copy bandwidth printed first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from solvers import reference_shallow  # noqa: E402
from solvers.activations import ACTIVATIONS, leaky_relu  # noqa: E402
from solvers.particles import Particles, initial  # noqa: E402

POINTS, DIM, SLOPE, RATE = 64, 64, 0.1, 0.05
FUNCTIONS = {
    "leaky_relu": lambda h: (np.where(h > 0, h, SLOPE * h), np.where(h > 0, 1.0, SLOPE)),
    "tanh": lambda h: (np.tanh(h), 1 - np.tanh(h) ** 2),
}


class Plain:
    """The step in whole numpy arrays; `functions` returns phi and phi'."""

    def __init__(self, a, w, x, functions):
        self.a, self.w, self.x, self.functions = a, w, x, functions
        self.phi, self.dphi = functions(w @ x.T)

    def step(self, rate_a, rate_w, c):
        a = self.a - rate_a * self.phi @ c
        self.w = self.w - rate_w * self.a[:, None] * ((c * self.dphi) @ self.x)
        self.a = a
        self.phi, self.dphi = self.functions(self.w @ self.x.T)
        return self.a @ self.phi


def best(function, repetitions):
    """Shortest of the times of `function`, in seconds."""
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def copy_seconds(numbers, threads, repetitions):
    """Time in which `threads` copy so many doubles."""
    source, target = np.ones((threads, numbers // threads)), np.zeros((threads, numbers // threads))
    with ThreadPoolExecutor(threads) as pool:
        return best(lambda: list(pool.map(np.copyto, target, source)), repetitions)


def rows(activation, sizes, threads, repetitions):
    """Table lines: nanoseconds per neuron and step."""
    x = np.random.default_rng(0).normal(size=(POINTS, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    c = np.random.default_rng(1).normal(size=POINTS) / POINTS
    for neurons in sizes:
        a, h = initial(np.random.default_rng(2), neurons, x, antithetic=True)
        b, w = reference_shallow.initial(np.random.default_rng(2), neurons, DIM, antithetic=True)
        particles = Particles(a.copy(), h.copy(), x, POINTS, activation, groups=16, threads=threads)
        network = Particles(a, h, x, POINTS, activation, threads=threads)
        plain = Plain(b, w, x, FUNCTIONS[activation.name])
        with threadpool_limits(threads, user_api="blas"):
            result = plain.step(RATE, RATE, c)
            plain_time = best(lambda: plain.step(RATE, RATE, c), repetitions)
        with threadpool_limits(1, user_api="blas"):
            error = np.abs(particles.step(RATE, RATE, c).sum(axis=0) - result).max() / np.abs(result).max()
            times = [best(lambda: p.step(RATE, RATE, c), 2 * repetitions) for p in (particles, network)]
        copy = copy_seconds(neurons * (POINTS + 1), threads, 2 * repetitions)
        numbers = [f"{seconds / neurons * 1e9:.0f}" for seconds in (*times, plain_time, copy)]
        ratios = f"{plain_time / times[0]:.1f}", f"{times[0] / copy:.1f}"
        cells = [activation.name, threads, f"2^{neurons.bit_length() - 1}", *numbers, *ratios]
        print("|", *(f"{cell} |" for cell in cells), f"{error:.0e} |", flush=True)


def start_seconds():
    """First step of a process beyond the imports, with an empty and with a filled cache of compiled kernels."""
    code = """import time, numpy as np
from solvers.particles import Particles
from solvers.activations import leaky_relu
began = time.perf_counter()
Particles(np.ones(4), np.ones((4, 4)), np.eye(4), 4, leaky_relu(0.1)).step(0.1, 0.1, np.ones(4))
print(time.perf_counter() - began)"""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        return [float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout) for _ in range(2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, leaky ReLU only")
    quick = parser.parse_args().quick
    repetitions = 3 if quick else 10
    sizes = [2**12, 2**14] if quick else [2**12, 2**13, 2**14, 2**15, 2**16, 2**17]
    print("first step: {:.1f} s with an empty cache, {:.2f} s in every later process".format(*start_seconds()))
    for threads in (1, 2):
        print(f"copy, {threads} threads: {16e-9 * 2**24 / copy_seconds(2**24, threads, repetitions):.0f} GB/s read and written")
    print("\nNanoseconds per neuron and step:\n")
    print("| activation | threads | N | particles | network | plain numpy | copy | plain / particles | particles / copy | error |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for threads in (1, 2):
        rows(leaky_relu(SLOPE), sizes, threads, repetitions)
        if not quick:
            rows(ACTIVATIONS["tanh"], sizes[::2], threads, repetitions)


if __name__ == "__main__":
    main()
