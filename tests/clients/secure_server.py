"""A server with TLS and API keys, for what is written in other languages: the folder with its files, and its process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from dorian_server.cli.keys import main as keys_command
from tests.certificates import Authority
from tests.e2e.server_process import start_server


def add_key(keys: Path, id: str, scopes: Sequence[str]) -> str:
    """Add a key to a file of API keys, and return it."""
    flags = [flag for scope in scopes for flag in ("--scope", scope)]
    return CliRunner().invoke(keys_command, ["add", str(keys), "--id", id, *flags], catch_exceptions=False).stdout


def make_folder(folder: Path, scopes: Mapping[str, Sequence[str]]) -> None:
    """Fill a folder: ca.pem, certificate.pem and key.pem, keys.json, and a file with each key, whose name and scopes are given."""
    authority = Authority("one")
    authority.issue().write(folder)
    (folder / "ca.pem").write_bytes(authority.pem)
    for name, allowed in scopes.items():
        (folder / name).write_text(add_key(folder / "keys.json", name, allowed))


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run a server with the files of a folder; yield its address, with a name for the host."""
    tls = ["--tls-certificate", str(folder / "certificate.pem"), "--tls-key", str(folder / "key.pem")]
    server = start_server("--bundle", "models/default", "--api-keys", str(folder / "keys.json"), *tls)
    yield server.address.replace("127.0.0.1", "localhost")  # Node warns of TLS names that are addresses
    assert server.stop() == 0
