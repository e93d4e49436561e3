"""What the comments of the contract say, for tests that hold code to them."""

from __future__ import annotations

import re
from pathlib import Path

PROTO = Path(__file__).resolve().parents[1] / "proto" / "dorian" / "v1"


def documented_statuses() -> dict[str, str]:
    """Return the name of the gRPC status of each reason, from the comments at the heads of the contract's files."""
    return _read_table("face_aging.proto", "The reasons:") | _read_table("admin.proto", "with these reasons:")


def _read_table(name: str, heading: str) -> dict[str, str]:
    table = (PROTO / name).read_text(encoding="utf-8").partition(heading)[2].partition("Metadata that")[0]
    statuses, status = {}, ""
    for line in re.findall(r"^//   (.*)$", table.partition("syntax")[0], re.MULTILINE):
        first, _, rest = line.partition(" ")
        status = first or status
        for reason in re.findall(r"\b[A-Z][A-Z_]{3,}\b", re.sub(r"\([^)]*\)?", "", rest)):
            statuses[reason] = status
    return statuses
