"""The pipeline under LitServe: worker processes behind FastAPI, joined by its fast queue, one request at a time in each."""

from typing import Annotated

import litserve
from fastapi import Body, Response

from bench.serving.task import PeerSettings

_PATIENCE = 300  # seconds


class Ageing(litserve.LitAPI):
    """A photo's bytes in, the picture's out. LitServe hands the annotations to FastAPI as they are: no postponed ones here."""

    def setup(self, device: str) -> None:
        from bench.serving.work import open_work  # the process in front needs no graphs

        self._age = open_work(PeerSettings.from_environment().threads)

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> bytes:
        return request

    def predict(self, photo: bytes) -> bytes:
        return self._age(photo)

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/jpeg")


if __name__ == "__main__":
    settings = PeerSettings.from_environment()
    server = litserve.LitServer(
        Ageing(), accelerator="cpu", workers_per_device=settings.processes, timeout=_PATIENCE, fast_queue=True
    )
    server.run(host="127.0.0.1", port=settings.port, generate_client_file=False, log_level="warning")
