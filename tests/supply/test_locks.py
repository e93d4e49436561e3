"""The locks pin all that server and client need, by hash, for each Python and platform that they run on; nothing else decides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "dorian-bundle": "bundle",
    "dorian-proto": "proto",
    "dorian-server": "server",
    "dorian-client": "clients/python",
    "dorian-gateway": "gateway",
}
LOCKED_PARTS = {
    "serve.lock": ("dorian-bundle", "dorian-proto", "dorian-server", "dorian-client"),
    "gateway.lock": ("dorian-proto", "dorian-client", "dorian-gateway"),
}
LOCKS = ("serve.lock", "gateway.lock", "build.lock")
ENVIRONMENTS = [
    {"python_version": version, "python_full_version": f"{version}.0", "platform_machine": machine,
     "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
     "platform_python_implementation": "CPython", "extra": ""}
    for version in ("3.11", "3.12") for machine in ("x86_64", "aarch64")
]  # fmt: skip
Pins = list[tuple[Requirement, list[str]]]


def read_lock(name: str) -> Pins:
    """The entries of a lock, each with its hashes."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.partition("--hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def project(part: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / part / "pyproject.toml").read_text())


def requirements(lock: str) -> Iterator[tuple[str, Requirement]]:
    """What the parts of a lock need, with the part that needs it."""
    for name in LOCKED_PARTS[lock]:
        content = project(PARTS[name])["project"]
        extras = content.get("optional-dependencies", {}).get("traces", [])
        for text in (*content["dependencies"], *extras):
            if (requirement := Requirement(text)).name not in PARTS:
                yield name, requirement


def pins_for(pins: Pins, name: str, environment: dict[str, str]) -> list[Requirement]:
    return [
        pin
        for pin, _ in pins
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_one_version_by_its_hashes(lock: str) -> None:
    pins = read_lock(lock)
    assert pins
    for pin, hashes in pins:
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert pin.url is None
        assert hashes, pin
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), pin


@pytest.mark.parametrize("lock", LOCKED_PARTS)
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: f"{e['python_version']}-{e['platform_machine']}")
def test_each_environment_gets_one_version_that_the_parts_allow(lock: str, environment: dict[str, str]) -> None:
    pins = read_lock(lock)
    for part, requirement in requirements(lock):
        (pin,) = pins_for(pins, requirement.name, environment)
        (specifier,) = pin.specifier
        assert requirement.specifier.contains(specifier.version), f"{part} needs {requirement}; make lock renews {pin}"
    for name in {pin.name for pin, _ in pins}:
        assert len(pins_for(pins, name, environment)) <= 1, name


def test_locks_agree() -> None:
    """So that the gateway can be put beside the server."""
    served = {str(pin) for pin, _ in read_lock("serve.lock")}
    names = {pin.name for pin, _ in read_lock("serve.lock")}
    assert {str(pin) for pin, _ in read_lock("gateway.lock") if pin.name in names} <= served


def test_what_builds_the_parts_is_locked_too() -> None:
    (pin,) = (pin for pin, _ in read_lock("build.lock"))
    (specifier,) = pin.specifier
    for part in PARTS.values():
        (needed,) = map(Requirement, project(part)["build-system"]["requires"])
        assert pin.name == needed.name
        assert needed.specifier.contains(specifier.version)


@pytest.mark.parametrize("name", ["torch", "torchvision", "onnx", "pytest", *PARTS])
def test_what_does_not_belong_there(name: str) -> None:
    assert not [pin for lock in LOCKS for pin, _ in read_lock(lock) if pin.name == name]


def test_no_file_says_where_packages_come_from() -> None:
    files = [*(ROOT / "requirements").glob("*.*"), *ROOT.glob("*/Dockerfile"), ROOT / "Makefile"]
    assert len(files) > 10
    index = re.compile(r"--(extra-)?index-url|--find-links|--trusted-host|\bINDEX_URL|files\.")
    assert not [file.name for file in files if index.search(file.read_text())]


@pytest.mark.parametrize("target", ["done", "gateway"])
def test_the_demo_installs_by_hash_alone(target: str) -> None:
    """Each pip install is of locks with hashes, or of our own parts with no index at all."""
    makefile = (ROOT / "Makefile").read_text()
    (editable,) = re.findall(r"^EDITABLE := (.*)$", makefile, re.MULTILINE)
    (recipe,) = re.findall(rf"^\$\(SERVE\)/{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    require_hashes(recipe.replace("$(EDITABLE)", editable), 2)


@pytest.mark.parametrize("part", ["server", "gateway"])
def test_images_install_by_hash_alone(part: str) -> None:
    text = (ROOT / part / "Dockerfile").read_text()
    require_hashes(text, 4)
    assert [line for line in text.splitlines() if line.startswith("FROM")] == ["FROM ${BASE} AS build", "FROM ${BASE}"]


def require_hashes(text: str, count: int) -> None:
    commands = [line for line in text.splitlines() if re.search(r"pip (install|wheel)", line)]
    assert len(commands) == count
    assert [line for line in commands if "--require-hashes" not in line and "--no-index --no-deps" not in line] == []
