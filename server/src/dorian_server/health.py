"""``dorian-server-health``: asks a server's health service and exits with 0 if it serves; for container health checks."""

from __future__ import annotations

import sys

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@click.command(context_settings={"show_default": True, "auto_envvar_prefix": "DORIAN"})
@click.option(
    "--port", type=click.IntRange(1, 65535), default=50051, show_envvar=True, help="Port of the server on this machine."
)
@click.option("--timeout", type=click.FloatRange(0.1), default=3.0, show_envvar=True, help="Seconds to wait.")
def main(port: int, timeout: float) -> None:
    """Exit with 0 if the server on this machine serves, with 1 if not."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            sys.exit(f"not serving: {error.code().name}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit("not serving")
    click.echo("serving")


if __name__ == "__main__":
    main()
