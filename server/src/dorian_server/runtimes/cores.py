"""Cores that this process may use, which is how many threads a runtime gets."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def share_of_cores(processes: int) -> int:
    """Return the cores for each of ``processes`` that share those of this one; at least 1."""
    return max(1, available_cores() // processes)


def available_cores(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the cores of this process: the minimum of its affinity and the quotas of its cgroups, rounded up, at least 1.

    Args:
        cgroups: Where cgroups are mounted, version 2 or 1.
        membership: The file that names the cgroups of the process.
    """
    return max(1, math.ceil(min([_affinity(), *_quotas(cgroups, membership)])))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """Yield the quota, in cores, of each group that the process is in, and of its parents."""
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:
            mounts, read_quota = [cgroups, cgroups / "unified"], _read_quota_v2
        elif "cpu" in controllers.split(","):
            mounts, read_quota = [cgroups / controllers, cgroups / "cpu"], _read_quota_v1
        else:
            continue
        group = Path(path.lstrip("/"))
        # In a container the path may be the host's; then the group itself is mounted.
        levels = [group, *group.parents] if ".." not in group.parts else [Path()]
        for folder in {mount / level for mount in mounts for level in levels}:
            quota = read_quota(folder)
            if quota is not None:
                yield quota


def _read_quota_v2(folder: Path) -> float | None:
    file = folder / "cpu.max"  # microseconds in each period, and the period; or "max" and the period
    if not file.is_file():
        return None
    quota, period = file.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _read_quota_v1(folder: Path) -> float | None:
    quota, period = folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    if not (quota.is_file() and period.is_file()):
        return None
    microseconds = int(quota.read_text())  # -1 is without a limit
    return None if microseconds <= 0 else microseconds / int(period.read_text())
