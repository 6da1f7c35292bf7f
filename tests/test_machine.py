"""Cores and memory that a process may use, from made-up control groups and real limits."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

import dmft
from dmft import machine

ROOT = Path(__file__).parents[1]
GIB = 2**30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """groups(membership, {file: content}) makes a tree of control groups, of which this process sees nothing else."""
    monkeypatch.setattr(machine, "_GROUPS", str(tmp_path / "cgroup"))
    monkeypatch.setattr(machine, "_PROCESS", str(tmp_path / "self"))
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(machine, "_address_space", lambda: math.inf)

    def make(membership, files):
        (tmp_path / "self").mkdir()
        (tmp_path / "self" / "cgroup").write_text(membership, encoding="utf-8")
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    return make


CORES = {
    "no groups": ("", {}, 16),
    "version 2": ("0::/job\n", {"job/cpu.max": "300000 100000\n"}, 3),
    "part of a core": ("0::/job\n", {"job/cpu.max": "50000 100000\n"}, 1),
    "and a half": ("0::/job\n", {"job/cpu.max": "150000 100000\n"}, 2),
    "of a group above": ("0::/user/job/step\n", {"user/cpu.max": "200000 100000", "user/job/step/cpu.max": "max 100000"}, 2),
    "in a container": ("0::/\n", {"cpu.max": "400000 100000"}, 4),
    "version 1": ("4:cpu,cpuacct:/job\n0::/\n", {"cpu/job/cpu.cfs_quota_us": "250000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 3),
    "version 1, container": ("4:cpu:/docker/7\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    "version 1, free": ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
    "more than there are": ("0::/\n", {"cpu.max": "9900000 100000"}, 16),
    "of another controller": ("4:memory:/job\n", {"cpu/job/cpu.cfs_quota_us": "1", "cpu/job/cpu.cfs_period_us": "100000"}, 16),
}


@pytest.mark.parametrize(("membership", "files", "cores"), CORES.values(), ids=CORES)
def test_cores(groups, membership, files, cores):
    groups(membership, files)
    assert machine.cores() == cores


MEMORY = {
    "version 2": ("0::/job\n", {"job/memory.max": f"{GIB}\n"}, GIB),
    "of a group above": ("0::/a/b\n", {"a/memory.max": f"{GIB // 2}", "a/b/memory.max": "max"}, GIB // 2),
    "version 1": ("5:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": f"{GIB}"}, GIB),
    "version 1, container": ("5:memory:/docker/7\n", {"memory/memory.limit_in_bytes": f"{GIB}"}, GIB),
}


@pytest.mark.parametrize(("membership", "files", "limit"), MEMORY.values(), ids=MEMORY)
def test_memory(groups, membership, files, limit):
    groups(membership, files)
    assert machine.memory() == 0.8 * limit


def test_no_limit_is_the_memory_of_the_machine(groups):
    groups("0::/job\n5:memory:/job\n", {"job/memory.max": "max", "memory/job/memory.limit_in_bytes": "9223372036854771712"})
    total = 0.8 * machine.os.sysconf("SC_PAGE_SIZE") * machine.os.sysconf("SC_PHYS_PAGES")
    assert machine.memory() == total


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux only")
def test_what_is_left_of_the_address_space_limits_the_memory():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30)); from dmft import machine; print(machine.memory());"
        "kept = bytearray(2**30); print(machine.memory())"
    )
    before, after = map(float, subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout.split())
    assert 0.8 * 3 * GIB < before < 0.8 * 4 * GIB
    assert before - after == pytest.approx(0.8 * GIB, rel=0.01)


def test_networks_beyond_the_memory_are_refused_with_all_workers_and_seeds(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 8 * 2.5 * 500**2 * 2)
    problem = dmft.DeepLinear(2), dmft.GaussianData(math.inf), dmft.GradientDescent(0.1, 1)
    dmft.simulate(*problem, dim=500, seeds=2, workers=1, progress=False)
    with pytest.raises(ValueError, match=r"dim = 500, seeds = 3 and workers = 3 need about .* GiB, and this process may take .* fewer seeds or workers"):
        dmft.simulate(*problem, dim=500, seeds=3, workers=3, progress=False)
    with pytest.raises(ValueError, match="seeds = 1000000000"):
        dmft.simulate(*problem, dim=5, seeds=10**9, progress=False)
