"""ONNX Runtime's telemetry, which writes files and sends events unless it is turned off before the import."""

from __future__ import annotations

import os
import sys

from dorian_bundle.errors import TelemetryError

_VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_onnx_telemetry(package: str) -> None:
    """Turn the telemetry off for this process and those that it starts; to be called before ONNX Runtime is imported.

    Args:
        package: The package that is about to use ONNX Runtime, for the error.

    Raises:
        TelemetryError: ONNX Runtime was imported before, with its telemetry on.
    """
    if "onnxruntime" in sys.modules and os.environ.get(_VARIABLE) != "1":
        raise TelemetryError(
            f"onnxruntime was imported before {package}, with its telemetry on; "
            f"import {package} first, or set {_VARIABLE}=1 before"
        )
    os.environ[_VARIABLE] = "1"
