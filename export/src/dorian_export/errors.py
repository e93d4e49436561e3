"""The errors of this package.

ExportError
└── ParityError    an exported graph does not give what its network gives
"""


class ExportError(Exception):
    """Base of all errors raised by dorian_export."""


class ParityError(ExportError):
    """An exported graph does not give what its network gives."""
