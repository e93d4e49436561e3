"""Measures what the gateway adds to a call: the same photo by gRPC and by HTTP, in turns, against one server.

    python -m bench.gateway [ROUNDS]

It starts the server with the embedded bundle and the gateway before it, and prints medians and 95th percentiles in milliseconds: of
each way, and of what HTTP adds to the gRPC call before it.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from dorian_client import Client

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "astronaut.jpg"  # 512 by 512 pixels
ROUNDS = 200
WARM_UP = 20


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    photo = PHOTO.read_bytes()
    with ExitStack() as stack:
        server = start(stack, "dorian_server", "--bundle", "models/default", "--host", "127.0.0.1", "--port", "0")
        url = start(stack, "dorian_gateway", "--server", server, "--port", "0", "--log-level", "warning")
        client = stack.enter_context(Client(server))
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "detect": (lambda: client.detect(photo), lambda: post(connection, "/v1/detect", photo)),
            "age, image": (lambda: client.age(photo, 60), lambda: post(connection, "/v1/age", photo, "image/*")),
            "age, JSON": (lambda: client.age(photo, 60), lambda: post(connection, "/v1/age", photo)),
        }
        for name, (by_grpc, by_http) in ways.items():
            grpc_times, http_times = measure(by_grpc, by_http, rounds)
            added = [later - earlier for earlier, later in zip(grpc_times, http_times, strict=True)]
            grpc_ms, http_ms, added_ms = map(summarise, (grpc_times, http_times, added))
            ratio = statistics.median(http_times) / statistics.median(grpc_times)
            print(f"{name:12} gRPC {grpc_ms} ms  HTTP {http_ms} ms  added {added_ms} ms  HTTP / gRPC {ratio:.2f}")


def summarise(times: list[float]) -> str:
    """Return the median and the 95th percentile of times."""
    return f"{statistics.median(times):7.2f} (p95 {statistics.quantiles(times, n=20)[-1]:7.2f})"


def start(stack: ExitStack, module: str, *flags: str) -> str:
    """Start a server as a process that ends with the stack; return where it listens."""
    command = [sys.executable, "-m", module, *flags]
    process = stack.enter_context(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return process.stdout.readline().removeprefix("listening on ").strip()


def post(connection: http.client.HTTPConnection, path: str, photo: bytes, accept: str = "application/json") -> bytes:
    """Send a photo as a form over a connection that is kept; return the body of the response."""
    boundary = uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'.encode()
    to = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="to"\r\n\r\n60'.encode() if "age" in path else b""
    body = part + photo + to + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": accept}
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    data = response.read()
    assert response.status == 200, data
    return data


def measure(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of two calls made in turns, after a warm-up."""
    times: tuple[list[float], list[float]] = [], []
    for index in range(WARM_UP + rounds):
        for call, taken in zip((first, second), times, strict=True):
            begin = time.perf_counter()
            call()
            if index >= WARM_UP:
                taken.append(1000 * (time.perf_counter() - begin))
    return times


if __name__ == "__main__":
    main()
