"""make audit, with stand-ins for the tools that it runs: it passes only if the service has told of every package, and writes its SBOM anyway."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = """
alpha==1.0 \\
    --hash=sha256:00
beta==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:01
beta==2.1 ; python_full_version >= '3.12' \\
    --hash=sha256:02
    # via gamma==9
"""
# Answers as pip-audit does: from ANSWERS, by package and version; a package that is not there is unknown to the service.
PIP_AUDIT = """
import json, os, sys
from pathlib import Path
known = json.loads(os.environ["ANSWERS"])
if known is None:
    sys.exit("Traceback\\nrequests.exceptions.ConnectionError: no such host")
lines = Path(sys.argv[sys.argv.index("-r") + 1]).read_text().split()
assert "--strict" in sys.argv
pins = [line.split("==") for line in lines]
print(json.dumps({"dependencies": [{"name": n, "version": v, "vulns": known[f"{n} {v}"]} for n, v in pins if f"{n} {v}" in known]}))
sys.exit(any(known.get(f"{n} {v}") for n, v in pins))
"""
CYCLONEDX = """
import sys
from pathlib import Path
Path(sys.argv[sys.argv.index("-o") + 1]).write_text(sys.stdin.read())
"""
CLEAN: dict[str, list[dict[str, object]]] = {"alpha 1.0": [], "beta 2.0": [], "beta 2.1": []}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    for name, text in (("pip_audit", PIP_AUDIT), ("cyclonedx_py", CYCLONEDX)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "__main__.py").write_text(text)
    path = tmp_path / "some.lock"
    path.write_text(LOCK)
    return path


def audit(lock: Path, answers: object, *more: Path) -> subprocess.CompletedProcess[str]:
    locks = [str(path) for path in (lock, *more)]
    command = [sys.executable, "requirements/audit.py", *locks, "--sbom", str(lock.parent / "build" / "sbom.json")]
    environment = os.environ | {"ANSWERS": json.dumps(answers), "PYTHONPATH": str(lock.parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_nothing_known_passes(lock: Path) -> None:
    result = audit(lock, CLEAN)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{lock.parent}/build/sbom.json: 3 packages", "no known vulnerabilities"]


@pytest.mark.parametrize("version", ["2.0", "2.1"], ids=["of Python 3.11", "of Python 3.12"])
def test_a_vulnerability_of_any_pythons_version_fails(lock: Path, version: str) -> None:
    flaw = {"id": "PYSEC-1", "fix_versions": ["3.0"], "aliases": [], "description": ""}
    unfixed = {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": ""}
    result = audit(lock, CLEAN | {f"beta {version}": [flaw, unfixed]})
    assert result.returncode == 1
    assert result.stdout.splitlines()[1:] == [
        f"beta {version}: PYSEC-1, fixed in 3.0", f"beta {version}: PYSEC-2, not fixed yet", "2 known vulnerabilities"
    ]  # fmt: skip


def test_a_service_that_cannot_be_reached_is_no_pass(lock: Path) -> None:
    result = audit(lock, None)
    assert result.returncode == 2
    assert result.stderr.startswith("NOT AUDITED: requests.exceptions.ConnectionError: no such host\n")
    assert "known vulnerabilities" not in result.stdout
    assert (lock.parent / "build" / "sbom.json").read_text() == LOCK.partition("    # via")[0].strip()


def test_what_several_locks_name_is_listed_once(lock: Path) -> None:
    other = lock.with_name("other.lock")
    other.write_text("alpha==1.0 \\\n    --hash=sha256:00\n    # via omega\ndelta==4 \\\n    --hash=sha256:04\n")
    result = audit(lock, CLEAN | {"delta 4": []}, other)
    assert result.returncode == 0
    text = (lock.parent / "build" / "sbom.json").read_text()
    assert re.findall(r"^\w+==\S+", text, re.MULTILINE) == ["alpha==1.0", "beta==2.0", "beta==2.1", "delta==4"]
    assert text.count("--hash") == 4


def test_a_package_that_the_service_does_not_know_is_no_pass(lock: Path) -> None:
    result = audit(lock, {"beta 2.0": [], "beta 2.1": []})
    assert result.returncode == 2
    assert result.stderr.startswith("NOT AUDITED: the service does not tell of alpha\n")


def test_a_lock_that_pins_nothing(lock: Path) -> None:
    lock.write_text("alpha>=1\n")
    result = audit(lock, CLEAN)
    assert (result.returncode, result.stderr) == (1, f"{lock} pins nothing; make lock writes it\n")


@pytest.mark.skipif(
    find_spec("cyclonedx_py") is None, reason="cyclonedx-bom is not installed here; make audit installs it"
)
def test_the_sbom_lists_what_the_locks_pin(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    subprocess.run(
        [sys.executable, "requirements/audit.py", "requirements/serve.lock", "--sbom", str(path), "--service", "osv",
         "--service-url", "http://127.0.0.1:9"],
        cwd=ROOT, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    content = json.loads(path.read_text())
    assert content["bomFormat"] == "CycloneDX"
    names = {component["name"] for component in content["components"]}
    assert {"grpcio", "onnxruntime", "pillow"} <= names
