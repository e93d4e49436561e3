"""Model bundles: the format on disk, shared by the exporter that writes them and the server that runs them.

Every graph takes and gives float32 RGB in [0, 1], channels first.
"""

from dorian_bundle.bundle import Bundle, load_bundle, write_manifest
from dorian_bundle.errors import (
    AgeError,
    AlignmentError,
    BundleError,
    EngineError,
    ExternalDataError,
    GraphFileError,
    GraphSignatureError,
    ManifestError,
    TelemetryError,
)

__all__ = [
    "AgeError",
    "AlignmentError",
    "Bundle",
    "BundleError",
    "EngineError",
    "ExternalDataError",
    "GraphFileError",
    "GraphSignatureError",
    "ManifestError",
    "TelemetryError",
    "load_bundle",
    "write_manifest",
]
