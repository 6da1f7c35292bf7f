"""Memory estimates against the peak of a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = """
import warnings
import dmft

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

def problem(network, samples, steps):
    return network, dmft.datasets.binary_digits((3, 8), samples=samples, norm={norm}), dmft.GradientDescent({rate}, steps)

dmft.solve(*problem({network}, 2, 2), progress=False, samples={small})
large, options = problem({network}, 8, {steps}), {options}
estimate, before = dmft.memory_estimate(*large, **options), status("VmRSS")
dmft.solve(*large, progress=False, memory_limit=1.001 * estimate, **options)
print((status("VmHWM") - before) / estimate)
"""
#: Network, norm of the inputs, learning rate, steps, samples of the warming up, options
CASES = {
    "DeepNet": ("dmft.DeepNet(2, 'mup', 'relu')", 1.0, 0.1, 24, 1024, "dict(samples=2**14)"),
    "DeepNet, tanh": ("dmft.DeepNet(3, 'mup', 'tanh')", 1.0, 0.1, 24, 1024, "dict(samples=2**14)"),
    "MLP": ("dmft.MLP(2, 'relu')", 8.0, 0.1, 20, 256, "dict(samples=2**13, replicas=2)"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read as Linux tells them")
@pytest.mark.parametrize("case", CASES)
def test_estimates_are_what_is_used(case):
    network, norm, rate, steps, small, options = CASES[case]
    code = CODE.format(network=network, norm=norm, rate=rate, steps=steps, small=small, options=options)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 0.7 < float(done.stdout) < 1.2, done.stdout
