"""What of the machine this process may use: processor cores and memory, as affinity, control groups and resource limits allow."""

import math
import os

#: Share of the memory that a computation may take.
SHARE = 0.8
_GROUPS, _PROCESS = "/sys/fs/cgroup", "/proc/self"


def cores():
    """Processor cores that this process may use; part of one counts as one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *map(math.ceil, _quotas())])


def memory():
    """Bytes that a computation may take: 80% of the least that machine, control groups and address space have."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    return SHARE * min(total, _address_space(), *_memory_limits())


def _groups(controller):
    """Folders of the control groups of this process, versions 1 and 2, its own and those above, as far as they can be seen."""
    for line in _text(f"{_PROCESS}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            folder = os.path.join(_GROUPS, controller if controllers else "", path.strip("/")).rstrip("/")
            while folder.startswith(_GROUPS):
                yield folder
                folder = os.path.dirname(folder)


def _memory_limits():
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (int(word) for word in _text(f"{folder}/{name}").split() if word != "max")


def _quotas():
    """Cores' worth of time that the control groups allow."""
    for folder in _groups("cpu"):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota = _text(f"{folder}/cpu.max").split() or [word for name in names for word in _text(f"{folder}/{name}").split()]
        if len(quota) == 2 and quota[0] not in ("max", "-1"):
            yield int(quota[0]) / int(quota[1])


def _address_space():
    """Bytes of addresses that are left."""
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    pages = _text(f"{_PROCESS}/statm").split()[:1] or [0]
    return max(0, limit - int(pages[0]) * resource.getpagesize())


def _text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
