"""``dorian-server-keys``: creates, lists and removes the API keys of a server."""

from __future__ import annotations

from pathlib import Path

import click

from dorian_server import __version__
from dorian_server.domain.errors import StartupError
from dorian_server.security.keys import SCOPES, ApiKey, Scope, check_id, make_key, read_keys, write_keys

_with_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Create, list and remove the API keys in FILE, which dorian-server takes with --api-keys.

    The file holds hashes, not keys. A running server applies a change at its next call. Run this as the user that the server
    runs as: only the owner may read the file.

    \b
    dorian-server-keys add keys.json --id mobile --scope age --calls-per-minute 60
    """


@main.command()
@_with_file
@click.option("--id", "id", required=True, metavar="NAME", help="Name of the key in logs and lists.")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True,
    help="What it may do; may be repeated. Latent searches need age and optimize, Prometheus metrics.",
)  # fmt: skip
@click.option("--calls-at-once", type=click.IntRange(1), help="Most calls in progress [default: no limit].")
@click.option(
    "--calls-per-minute", type=click.IntRange(1), help="Most calls that begin in a minute [default: no limit]."
)
def add(
    file: Path, id: str, scopes: tuple[Scope, ...], calls_at_once: int | None, calls_per_minute: int | None
) -> None:
    """Create a key and print it; it cannot be shown again."""
    try:
        check_id(id)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    keys = _read(file) if file.exists() else []
    if any(key.id == id for key in keys):
        raise click.ClickException(f"{file} has a key called {id}; remove it first, or take another name")
    secret, entry = make_key(id, frozenset(scopes), calls_at_once, calls_per_minute)
    _write(file, [*keys, entry])
    click.echo(secret)


@main.command("list")
@_with_file
def list_keys(file: Path) -> None:
    """List the keys: name, scopes and limits."""
    for key in _read(file):
        limits = [(key.calls_at_once, "at once"), (key.calls_per_minute, "per minute")]
        texts = [f"{limit} calls {span}" for limit, span in limits if limit is not None]
        scopes = ", ".join(scope for scope in SCOPES if scope in key.scopes)
        click.echo(": ".join([key.id, "; ".join([scopes, *texts])]))


@main.command()
@_with_file
@click.option("--id", "id", required=True, metavar="NAME", help="The key's name.")
def remove(file: Path, id: str) -> None:
    """Remove a key; calls with it are rejected from then on."""
    keys = _read(file)
    kept = [key for key in keys if key.id != id]
    if len(kept) == len(keys):
        raise click.ClickException(
            f"{file} has no key called {id}; it has {', '.join(key.id for key in keys) or 'none'}"
        )
    _write(file, kept)
    click.echo(f"removed {id}")


def _read(file: Path) -> list[ApiKey]:
    try:
        return read_keys(file)
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _write(file: Path, keys: list[ApiKey]) -> None:
    try:
        write_keys(file, keys)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error


if __name__ == "__main__":
    main()
