"""``make audit``: what the locks install as a CycloneDX SBOM, and whether vulnerabilities of it are known.

The SBOM is written whatever the audit finds. Exit status: 0 if no vulnerability is known, 1 if one is, 2 if that could not be found out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VULNERABLE, UNKNOWN = 1, 2  # exit statuses

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_ENTRY = re.compile(r"^[A-Za-z0-9._-]+==(?:.*\\\n)*.*", re.MULTILINE)  # with its hashes
_PATIENCE = "30"  # seconds for an answer of the service


@dataclass(frozen=True, order=True)
class Pin:
    """A package and its version, as a lock names them."""

    name: str
    version: str


class AuditError(Exception):
    """It could not be found out whether vulnerabilities are known."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("locks", nargs="+", type=Path, metavar="LOCK", help="file of pinned requirements with hashes")
    parser.add_argument("--sbom", type=Path, required=True, help="where to write the SBOM, in JSON")
    parser.add_argument(
        "--service", help="what knows of vulnerabilities, as pip-audit's -s: pypi (its default), osv, esms"
    )
    parser.add_argument("--service-url", help="where the service osv is, if not at its usual place")
    options = parser.parse_args(arguments)
    pins = read_pins(options.locks)
    write_sbom(options.locks, options.sbom)
    print(f"{options.sbom}: {len(pins)} packages")
    service = [*(["-s", options.service] if options.service else []),
               *(["--osv-url", options.service_url] if options.service_url else [])]  # fmt: skip
    try:
        lines = [line for group in group_by_version(pins) for line in find_vulnerabilities(group, service)]
    except AuditError as error:
        print(f"NOT AUDITED: {error}", file=sys.stderr)
        print("Nothing is known of vulnerabilities; run make audit where the service can be reached.", file=sys.stderr)
        return UNKNOWN
    for line in lines:
        print(line)
    print(f"{len(lines)} known vulnerabilities" if lines else "no known vulnerabilities")
    return VULNERABLE if lines else 0


def read_pins(locks: Sequence[Path]) -> list[Pin]:
    """Return what the locks pin, for whatever Python and platform it is meant, in order and once each.

    Raises:
        SystemExit: A lock pins nothing.
    """
    pins: set[Pin] = set()
    for lock in locks:
        entries = _PIN.findall(lock.read_text(encoding="utf-8"))
        if not entries:
            raise SystemExit(f"{lock} pins nothing; make lock writes it")
        pins.update(Pin(*entry) for entry in entries)
    return sorted(pins)


def write_sbom(locks: Sequence[Path], path: Path) -> None:
    """Write what the locks install, with its hashes, to ``path`` as a CycloneDX SBOM in JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [entry for lock in locks for entry in _ENTRY.findall(lock.read_text(encoding="utf-8"))]
    text = "\n".join(dict.fromkeys(entries))  # once each, though several locks may have it
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "--pyproject", "server/pyproject.toml",
               "--output-reproducible", "--of", "JSON", "-o", str(path), "-"]  # fmt: skip
    subprocess.run(command, input=text, text=True, check=True)


def group_by_version(pins: Sequence[Pin]) -> list[list[Pin]]:
    """Return groups of pins that together have each, and none of which has a package twice: versions may differ by Python."""
    groups: list[dict[str, Pin]] = []
    for pin in pins:
        for group in groups:
            if pin.name not in group:
                group[pin.name] = pin
                break
        else:
            groups.append({pin.name: pin})
    return [list(group.values()) for group in groups]


def find_vulnerabilities(pins: Sequence[Pin], service: Sequence[str]) -> list[str]:
    """Return a line for each known vulnerability of ``pins``.

    Args:
        pins: No package twice.
        service: Flags of pip-audit that choose the service.

    Raises:
        AuditError: The service cannot be reached, or does not know all packages.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--strict", "--timeout", _PATIENCE,
                   "--progress-spinner", "off", "-f", "json", "-r", str(requirements), *service]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        reason = result.stderr.strip().splitlines()[-1:] or [f"pip-audit ended with status {result.returncode}"]
        raise AuditError(reason[0]) from error
    audited = {package["name"] for package in packages if "vulns" in package}
    missing = sorted({pin.name for pin in pins} - audited)
    if missing:
        raise AuditError(f"the service does not tell of {', '.join(missing)}")
    return [
        f"{package['name']} {package['version']}: {vulnerability['id']},"
        f" {'fixed in ' + ', '.join(vulnerability['fix_versions']) if vulnerability['fix_versions'] else 'not fixed yet'}"
        for package in packages
        for vulnerability in package["vulns"]
    ]


if __name__ == "__main__":
    raise SystemExit(main())
