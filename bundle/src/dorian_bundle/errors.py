"""The errors of this package.

BundleError
├── AgeError               an age or age group that does not exist
├── AlignmentError         landmarks from which no crop can be made
├── ManifestError          manifest missing, unreadable, of another schema, or contradicting itself
├── GraphFileError         a file missing, not the one that the manifest describes, or no ONNX file where it should be
│   └── ExternalDataError  a graph's file that loads weights from another file
├── GraphSignatureError    a graph's inputs or outputs differ from what the manifest says
├── EngineError            a TensorRT engine cannot be built or loaded
├── StyleLevelsError       levels or a preset of levels that do not exist
└── TelemetryError         ONNX Runtime was imported with its telemetry on
"""


class BundleError(Exception):
    """Base of all errors raised by dorian_bundle."""


class AgeError(BundleError, ValueError):
    """An age or age group that does not exist."""


class AlignmentError(BundleError, ValueError):
    """Landmarks from which no crop can be made."""


class ManifestError(BundleError):
    """The manifest is missing, unreadable, of another schema, or contradicts itself."""


class GraphFileError(BundleError):
    """A file of a bundle is missing, is not the one that the manifest describes, or is no ONNX file where it should be."""


class ExternalDataError(GraphFileError):
    """A graph's file loads weights from another file, which no hash covers."""


class GraphSignatureError(BundleError):
    """A graph's inputs or outputs differ from what the manifest says."""


class EngineError(BundleError):
    """A TensorRT engine cannot be built or loaded."""


class TelemetryError(BundleError):
    """ONNX Runtime was imported with its telemetry on."""


class StyleLevelsError(BundleError, ValueError):
    """Levels that no generator has, that are given twice, or a preset that does not exist."""
