"""TLS and mutual TLS from PEM files, which may be replaced while the server runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import grpc

from dorian_server.domain.errors import StartupError
from dorian_server.security.watched_files import WatchedFiles, read_file
from dorian_server.settings import Security

# OpenSSL's names for a key that does not match: of the same algorithm, and of another one.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


@dataclass(frozen=True)
class _Tls:
    """What the files of TLS hold, in PEM, and the same for Python's ssl."""

    chain: bytes
    private: bytes
    authorities: bytes | None
    context: ssl.SSLContext


def load_credentials(settings: Security) -> grpc.ServerCredentials | None:
    """Return the server's side of TLS, or ``None`` if it is not asked for.

    Connections that begin after a file has changed get what it holds then; while a certificate and its key do not match, the old
    pair stays in use. With a client CA, only callers with a certificate from it are let in.

    Args:
        settings: The files.

    Raises:
        StartupError: A file is missing, broken, or does not match the others.
    """
    files = _watch_files(settings)
    if files is None:
        return None
    current = files.value()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        newest = files.value()
        if newest is current:
            return None
        current = newest
        return _grpc_configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _grpc_configuration(current),
        fetch,  # type: ignore[arg-type]  # the stubs do not know that None stands for no change
        settings.tls_client_ca is not None,
    )


def load_tls_contexts(settings: Security) -> Callable[[], ssl.SSLContext] | None:
    """Return a function to TLS's settings for a new connection that gRPC has no part in, or ``None`` if TLS is not asked for.

    They are those of ``load_credentials``, and change with the files in the same way.

    Raises:
        StartupError: A file is missing, broken, or does not match the others.
    """
    files = _watch_files(settings)
    return None if files is None else lambda: files.value().context


def _watch_files(settings: Security) -> WatchedFiles[_Tls] | None:
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None and key is None:
        if client_ca is not None:
            raise StartupError("a client CA needs TLS: give --tls-certificate and --tls-key as well")
        return None
    if key is None:
        raise StartupError(f"the TLS certificate {certificate} has no key: give --tls-key")
    if certificate is None:
        raise StartupError(f"the TLS key {key} has no certificate: give --tls-certificate")
    pair = certificate, key
    paths = pair if client_ca is None else (*pair, client_ca)
    return WatchedFiles(paths, lambda: _read(*pair, client_ca))


def _read(certificate: Path, key: Path, client_ca: Path | None) -> _Tls:
    chain, private = _read_pair(certificate, key)
    _check_certificates(chain, certificate, "the TLS certificate")
    context = _load_pair(certificate, key)
    # The context reads the files itself, as Python's ssl takes a key from nowhere else.
    if (chain, private) != _read_pair(certificate, key):
        raise StartupError(f"the TLS certificate {certificate} or its key changed while they were read")
    authorities = None
    if client_ca is not None:
        authorities = read_file(client_ca, "the client CA")
        _check_certificates(authorities, client_ca, "the client CA")
        context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
        context.verify_mode = ssl.CERT_REQUIRED
    return _Tls(chain, private, authorities, context)


def _grpc_configuration(tls: _Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.private, tls.chain)], tls.authorities)


def _read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    return read_file(certificate, "the TLS certificate"), read_file(key, "the TLS key")


def _check_certificates(pem: bytes, path: Path, role: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise StartupError(f"{role} {path} holds no certificate in PEM") from error


def _load_pair(certificate: Path, key: Path) -> ssl.SSLContext:
    def refuse_password() -> NoReturn:
        raise StartupError(f"the TLS key {key} is encrypted; give one without a password")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            raise StartupError(f"the TLS key {key} does not match the certificate {certificate}") from error
        if error.reason is None:
            raise StartupError(f"the TLS key {key} holds no private key in PEM") from error
        raise StartupError(f"the TLS certificate {certificate} and key {key} cannot be used: {error.reason}") from error
    except OSError as error:
        raise StartupError(f"the TLS certificate {certificate} or its key cannot be read: {error.strerror}") from error
    return context
