"""How the dorian command fails: in words on stderr, with a hint where there is one and a documented exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from dorian_client.errors import (
    Busy,
    ConnectionFailed,
    DeadlineExceeded,
    DorianError,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    NoFaceError,
    NotFound,
    PermissionDenied,
    PhotoError,
    ServerError,
    Unauthenticated,
)

EXIT_OTHER, EXIT_USAGE, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_SERVER = 1, 2, 3, 4, 5

_WHOLE_FACE = "take a photo in which a whole face is seen from the front, and not too small"
_LIST_FACES = "'dorian detect PHOTO' lists the faces of a photo, with the index that --face takes"
_GIVE_KEY = "give an API key of the server's by DORIAN_API_KEY, or in a file by --api-key-file"
_LIST_METHODS = "'dorian methods' lists the methods, age groups and filters that the server has"
_LIST_BUNDLES = "'dorian methods', with no --bundle, lists the bundles of a server that has several"
_AGAIN = "try again in a moment"

# The first class that an error is an instance of decides.
_EXITS: list[tuple[type[DorianError], int, str | None]] = [
    (PhotoError, EXIT_REFUSED, None),
    (NoFaceError, EXIT_REFUSED, _WHOLE_FACE),
    (InvalidRequest, EXIT_REFUSED, None),
    (NotFound, EXIT_REFUSED, _LIST_METHODS),
    (Unauthenticated, EXIT_REFUSED, _GIVE_KEY),
    (PermissionDenied, EXIT_REFUSED, None),
    (ConnectionFailed, EXIT_UNREACHABLE, "is the server running? Give its address with --server HOST:PORT"),
    (DeadlineExceeded, EXIT_SERVER, "give it more time with --timeout SECONDS"),
    (Busy, EXIT_SERVER, _AGAIN),
    (FailedPrecondition, EXIT_SERVER, None),
    (InternalError, EXIT_SERVER, "the server's log says more"),
    (ServerError, EXIT_SERVER, None),
]
_OWN_LATENTS = "a latent goes with its photo and its method; 'dorian reconstruct' and 'dorian optimize' write new ones"
_HINTS_BY_REASON = {
    "AGE_GROUP_UNKNOWN": _LIST_METHODS,
    "BUNDLE_BROKEN": "put the bundle right on the server, and reload it then",
    "BUNDLE_UNKNOWN": _LIST_BUNDLES,
    "FACE_NOT_FOUND": _LIST_FACES,
    "FACE_TOO_MANY": _LIST_FACES,
    "FACE_UNUSABLE": _WHOLE_FACE,
    "FILTER_UNKNOWN": _LIST_METHODS,
    "LATENT_UNSUITABLE": _OWN_LATENTS,
    "METHOD_UNSUITABLE": _LIST_METHODS,
    "NOT_READY": _AGAIN,
    "STOPPING": _AGAIN,
    "TARGET_UNSUITABLE": _LIST_METHODS,
}


class Program(click.Group):
    """A group of commands, none of which ends in a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command line; in standalone mode (the default) always ends in SystemExit."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except Exception as error:
            message, hint, code = _explain(error)
            click.echo(f"dorian: {message}", err=True)
            if hint:
                click.echo(f"hint: {hint}", err=True)
        sys.exit(code)


def _explain(error: Exception) -> tuple[str, str | None, int]:
    """Returns the message, the hint and the exit code for an error."""
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "dorian"
            return error.format_message(), f"see '{command} --help'", EXIT_USAGE
        case click.ClickException():
            return error.format_message(), None, error.exit_code
        case click.Abort():
            return "interrupted", None, EXIT_OTHER
        case OSError():
            return f"cannot write {error.filename or 'the result'}: {error.strerror or error}", None, EXIT_OTHER
    for kind, code, hint in _EXITS:
        if isinstance(error, kind):
            reason = getattr(error, "reason", None)
            return str(error), _HINTS_BY_REASON.get(reason or "", hint), code
    return f"unexpected {type(error).__name__}: {error}", "this is a fault of the command; please report it", EXIT_OTHER
