"""No torch on the way of a photo: not in the sources, not among the requirements, not in a process that serves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"bundle": "dorian_bundle", "server": "dorian_server", "clients/python": "dorian_client"}
FORBIDDEN = {"torch", "torchvision", "dorian_training", "dorian_export"}
# A part may import itself and these of ours; see the arrows in CONTRIBUTING.md.
ARROWS = {
    "dorian_bundle": set(),
    "dorian_server": {"dorian", "dorian_bundle"},
    "dorian_client": {"dorian"},
}
# What modules of an extra import where it is used, so that the package does without.
EXTRAS = {"bundle_engine.py": {"dorian_bundle", "dorian_server"}}

PROGRAM = """
import sys
from pathlib import Path
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age, AgeRequest, CompareRequest
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Settings
import dorian_server.cli.serve, dorian_server.cli.health

pipeline = build_pipeline(Settings(Path("models/default"), threads=1))
data = Path("examples/astronaut.jpg").read_bytes()
aged = pipeline.age(AgeRequest(data, [Age(group="60+")]), pipeline.method(""), Clock())
assert len(aged.images) == 1
pipeline.compare(CompareRequest(data, data), Clock())
print(*{name.partition(".")[0] for name in sys.modules})
"""


def imported(path: Path) -> Iterator[str]:
    """The top packages that a module names in import statements, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def requirements(distribution: str, recorded: set[str]) -> set[str]:
    """All that ``distribution`` needs installed, of what is, through all its requirements; without extras."""
    if distribution in recorded:
        return recorded
    recorded.add(distribution)
    try:
        needed = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return recorded
    for requirement in map(Requirement, needed):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirements(requirement.name.lower(), recorded)
    return recorded


@pytest.mark.parametrize("part", PARTS)
def test_no_module_imports_torch_nor_against_the_arrows(part: str) -> None:
    package = PARTS[part]
    modules = sorted((ROOT / part / "src" / package).rglob("*.py"))
    assert len(modules) > 5
    ours = {"dorian", *PARTS.values(), "dorian_training", "dorian_export"}
    for module in modules:
        result = set(imported(module))
        assert not result & FORBIDDEN, module
        assert result & ours <= ARROWS[package] | {package} | EXTRAS.get(module.name, set()), module


@pytest.mark.parametrize("distribution", ["dorian-bundle", "dorian-proto", "dorian-server", "dorian-client"])
def test_no_distribution_requires_torch(distribution: str) -> None:
    needed = requirements(distribution, set())
    assert "numpy" in needed or distribution == "dorian-proto"
    assert not {name for name in needed if name.startswith(("torch", "nvidia", "dorian-training", "dorian-export"))}


@pytest.mark.skipif(find_spec("dorian_training") is not None, reason="trains too, and so has torch")
def test_this_environment_has_no_torch() -> None:
    assert find_spec("torch") is None


def test_a_process_that_ages_and_compares_photos_has_not_imported_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    modules = set(ended.stdout.split())
    assert {"dorian_server", "dorian_bundle", "onnxruntime", "cv2", "grpc"} <= modules
    assert not modules & FORBIDDEN
