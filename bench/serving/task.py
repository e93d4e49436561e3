"""The task of all contenders: the embedded bundle, one photo, one age group; and the settings of a peer."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models" / "default"
PHOTO = (ROOT / "examples" / "astronaut.jpg").read_bytes()
TARGET = "60+"


@dataclass(frozen=True)
class PeerSettings:
    """How a peer serves: in ``processes`` that each do so many requests ``at_once``, on ``threads`` a graph (0: one per core)."""

    processes: int
    at_once: int
    threads: int
    port: int = 0

    @classmethod
    def from_environment(cls) -> PeerSettings:
        """Read the settings that ``environment`` wrote; peers' own command lines and workers pass environment variables on."""
        return cls(**{field.name: int(os.environ[_variable(field.name)]) for field in fields(cls)})

    def environment(self, port: int) -> dict[str, str]:
        """Return the environment variables for a peer that serves on ``port``."""
        return {_variable(name): str(value) for name, value in asdict(replace(self, port=port)).items()}


def _variable(name: str) -> str:
    return f"BENCH_{name.upper()}"
