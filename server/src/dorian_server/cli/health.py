"""``dorian-server-health``: exits with 0 if the health service of a server reports that it serves; for containers."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian_server.domain.defaults import PORT

# The variables are not the server's, which a health check in its container sees too: its certificate is no client's.
_FILE: dict[str, Any] = {
    "type": click.File("rb"),
    "allow_from_autoenv": False,
    "show_envvar": True,
}


@click.command(context_settings={"show_default": True, "auto_envvar_prefix": "DORIAN"})
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_envvar=True,
    help="Port of the server on this machine.",
)
@click.option(
    "--service",
    default="",
    show_default="readiness",
    allow_from_autoenv=False,
    envvar="DORIAN_HEALTH_SERVICE",
    show_envvar=True,
    help="What to check: readiness (it takes calls), liveness (it runs), or a service by its full name.",
)
@click.option("--timeout", type=click.FloatRange(0.1), default=3.0, show_envvar=True, help="Seconds to wait.")
@click.option("--tls-ca", **_FILE, envvar="DORIAN_HEALTH_TLS_CA", help="PEM of the authority behind its certificate.")
@click.option(
    "--tls-certificate",
    **_FILE,
    envvar="DORIAN_HEALTH_TLS_CERTIFICATE",
    help="PEM of a client certificate, for a server that requires one.",
)
@click.option("--tls-key", **_FILE, envvar="DORIAN_HEALTH_TLS_KEY", help="PEM of its key.")
@click.option(
    "--tls-server-name",
    allow_from_autoenv=False,
    envvar="DORIAN_HEALTH_TLS_SERVER_NAME",
    show_envvar=True,
    help="Name in the server's certificate, where that is not 127.0.0.1.",
)
def main(
    port: int,
    service: str,
    timeout: float,
    tls_ca: BinaryIO | None,
    tls_certificate: BinaryIO | None,
    tls_key: BinaryIO | None,
    tls_server_name: str | None,
) -> None:
    """Exit with 0 if the server on this machine serves, with 1 if not. Any of the --tls flags makes it connect over TLS."""
    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key go together")
    address = f"127.0.0.1:{port}"
    options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]  # the server is on this machine
    if tls_ca or tls_certificate or tls_server_name:
        pems = [None if file is None else file.read() for file in (tls_ca, tls_key, tls_certificate)]
        if tls_server_name:
            options.append(("grpc.ssl_target_name_override", tls_server_name))
        new_channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(*pems), options)
    else:
        new_channel = grpc.insecure_channel(address, options)
    with new_channel as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            sys.exit(f"not serving: {error.code().name}")
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit("not serving")
    click.echo("serving")


if __name__ == "__main__":
    main()
