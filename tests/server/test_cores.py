"""The cores of this process, from folders that look like cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dorian_server.runtimes import cores
from dorian_server.runtimes.cores import available_cores

ALL = 16  # of the machine


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ALL)))


def cores_in(folder: Path, membership: str, **files: str) -> int:
    """The cores found in a ``folder`` with these cgroup ``files`` (two underscores for a slash, one for a dot)."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "self").write_text(membership)
    return available_cores(folder, folder / "self")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("250000 100000", 3), ("10000 100000", 1), ("max 100000", ALL), ("9900000 100000", ALL)],
)
def test_version_2(tmp_path: Path, quota: str, expected: int) -> None:
    assert cores_in(tmp_path, "0::/\n", cpu_max=f"{quota}\n") == expected


def test_the_narrowest_group_around_the_process_counts(tmp_path: Path) -> None:
    files = {"pod__cpu_max": "300000 100000", "pod__app__cpu_max": "max 100000", "other__cpu_max": "100000 100000"}
    assert cores_in(tmp_path, "0::/pod/app\n", cpu_max="800000 100000", **files) == 3


@pytest.mark.parametrize(("quota", "expected"), [("150000", 2), ("-1", ALL)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, mount: str, quota: str, expected: int) -> None:
    files = {f"{mount}__cpu_cfs_quota_us": quota, f"{mount}__cpu_cfs_period_us": "100000"}
    assert cores_in(tmp_path, "7:memory:/\n4:cpu,cpuacct:/\n", **files) == expected


def test_a_container_that_sees_the_hosts_path(tmp_path: Path) -> None:
    """What is mounted is the container's own group, whatever the path says."""
    assert cores_in(tmp_path, "0::/docker/abc\n", cpu_max="400000 100000") == 4
    assert cores_in(tmp_path, "0::/../../elsewhere\n", cpu_max="400000 100000") == 4


def test_affinity_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert cores_in(tmp_path, "0::/\n", cpu_max="400000 100000") == 2


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none", tmp_path / "none" / "self") == ALL


def test_systems_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 6)
    assert available_cores(tmp_path, tmp_path / "self") == 6


def test_here() -> None:
    assert 1 <= available_cores() <= ALL
