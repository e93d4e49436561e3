"""The contract on disk: what a bundle of models is, for those who write one and those who serve it.

Every graph takes and gives RGB in [0, 1], float32, channels first.
"""

from dorian_bundle.bundle import Bundle, load, write_manifest
from dorian_bundle.errors import (
    AgeError,
    AlignmentError,
    BundleError,
    EngineError,
    GraphFileError,
    GraphSignatureError,
    ManifestError,
)

__all__ = [
    "AgeError",
    "AlignmentError",
    "Bundle",
    "BundleError",
    "EngineError",
    "GraphFileError",
    "GraphSignatureError",
    "ManifestError",
    "load",
    "write_manifest",
]
