"""Judges report to nobody: OpenVINO's import would, and would keep an id in the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

OPEN_NOTHING = """
from pathlib import Path
from dorian_evaluation.judges.reidentification import ReidentificationJudge
from dorian_training.errors import DataError
try:
    ReidentificationJudge(Path("nothing.xml"))
except DataError:
    print("asked")
"""


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO, of the extra judges")
def test_openvino_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", OPEN_NOTHING]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.stdout == "asked\n", ended.stderr
    assert list(tmp_path.iterdir()) == []
