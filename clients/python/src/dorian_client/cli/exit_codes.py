"""How the command fails: a message on stderr, a hint if there is one, and a documented exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from dorian_client.cli.connection import API_KEY_VARIABLE
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
    Reason,
    ServerError,
    Unauthenticated,
)

EXIT_OTHER, EXIT_USAGE, EXIT_REJECTED, EXIT_UNREACHABLE, EXIT_SERVER = 1, 2, 3, 4, 5

_WHOLE_FACE = "take a photo in which a whole face is seen from the front, and not too small"
_LIST_FACES = "'dorian detect PHOTO' lists the faces of a photo, with the index that --face takes"
_GIVE_KEY = f"give the server's API key in {API_KEY_VARIABLE}, or in a file with --api-key-file"
_LIST_METHODS = "'dorian methods' lists the methods, age groups and filters that the server has"
_LIST_BUNDLES = "'dorian methods' without --bundle lists the bundles of a server that has several"
_NEW_LATENTS = "a latent belongs to its photo and its method; 'dorian reconstruct' and 'dorian optimize' write new ones"
_RETRY = "try again in a moment"

# The first class that matches decides.
_EXITS: list[tuple[type[DorianError], int, str | None]] = [
    (PhotoError, EXIT_REJECTED, None),
    (NoFaceError, EXIT_REJECTED, _WHOLE_FACE),
    (InvalidRequest, EXIT_REJECTED, None),
    (NotFound, EXIT_REJECTED, _LIST_METHODS),
    (Unauthenticated, EXIT_REJECTED, _GIVE_KEY),
    (PermissionDenied, EXIT_REJECTED, None),
    (ConnectionFailed, EXIT_UNREACHABLE, "is the server running? Give its address with --server HOST:PORT"),
    (DeadlineExceeded, EXIT_SERVER, "give it more time with --timeout SECONDS"),
    (Busy, EXIT_SERVER, _RETRY),
    (FailedPrecondition, EXIT_SERVER, None),
    (InternalError, EXIT_SERVER, "see the server's log"),
    (ServerError, EXIT_SERVER, None),
]
_HINTS_BY_REASON: dict[str, str] = {
    Reason.AGE_GROUP_UNKNOWN: _LIST_METHODS,
    Reason.BUNDLE_BROKEN: "repair the bundle on the server, then reload it",
    Reason.BUNDLE_UNKNOWN: _LIST_BUNDLES,
    Reason.FACE_NOT_FOUND: _LIST_FACES,
    Reason.FACE_TOO_MANY: _LIST_FACES,
    Reason.FACE_UNUSABLE: _WHOLE_FACE,
    Reason.FILTER_UNKNOWN: _LIST_METHODS,
    Reason.LATENT_UNSUITABLE: _NEW_LATENTS,
    Reason.METHOD_UNSUITABLE: _LIST_METHODS,
    Reason.NOT_READY: _RETRY,
    Reason.STOPPING: _RETRY,
    Reason.TARGET_UNSUITABLE: _LIST_METHODS,
}


class Program(click.Group):
    """A group of commands that end with an exit code, never with a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; in standalone mode, the default, this always raises SystemExit."""
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
    """Return the message, the hint and the exit code for an error."""
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
