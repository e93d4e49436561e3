"""The process that loads a contender over the network: ``python -m bench.serving.over_network PROTOCOL ADDRESS``."""

from __future__ import annotations

import http.client
import sys
import time
from functools import partial

import grpc

from bench.serving.load import Call, RefusedError, obey
from bench.serving.protocols import CONNECT

_PAUSE = 0.2  # seconds between tries to reach a server that starts


def await_answer(call: Call) -> None:
    """Return once ``call`` is answered; the parent process ends this one if that takes too long."""
    while True:
        try:
            call()
            return
        except (OSError, http.client.HTTPException, grpc.RpcError, RuntimeError, RefusedError):
            time.sleep(_PAUSE)


def main() -> None:
    protocol, address = sys.argv[1:]
    connect = partial(CONNECT[protocol], address)
    await_answer(connect())
    obey(connect)


if __name__ == "__main__":
    main()
