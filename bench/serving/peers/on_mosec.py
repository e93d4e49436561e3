"""The pipeline under mosec: worker processes behind its Rust front, one request at a time in each."""

from __future__ import annotations

import os

from mosec import Server, Worker

from bench.serving.task import PeerSettings

_PATIENCE = 300  # seconds


class Ageing(Worker):
    """A photo's bytes in, the picture's out."""

    resp_mime_type = "image/jpeg"

    def __init__(self) -> None:
        from bench.serving.work import open_work  # the process in front needs no graphs

        self._age = open_work(PeerSettings.from_environment().threads)

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> bytes:
        return self._age(data)

    def serialize(self, data: bytes) -> bytes:
        return data


if __name__ == "__main__":
    settings = PeerSettings.from_environment()
    os.environ |= {
        "MOSEC_PORT": str(settings.port),
        "MOSEC_TIMEOUT": str(_PATIENCE * 1000),
        "MOSEC_LOG_LEVEL": "warning",
    }
    server = Server()
    server.append_worker(Ageing, num=settings.processes, timeout=_PATIENCE)
    server.run()
