"""The server's pipeline and messages under grpc.aio: an event loop, with threads for the requests that run at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from bench.serving.task import PeerSettings
from bench.serving.work import open_pipeline
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server.domain.clock import Clock
from dorian_server.serving import conversion


class Ageing(face_aging_pb2_grpc.FaceAgingServicer):
    """``AgeTransform`` alone."""

    def __init__(self, settings: PeerSettings) -> None:
        self._pipeline = open_pipeline(settings.threads)
        self._method = self._pipeline.method("")
        self._threads = ThreadPoolExecutor(settings.at_once)

    async def AgeTransform(
        self, request: pb.AgeTransformRequest, context: grpc.aio.ServicerContext
    ) -> pb.AgeTransformResponse:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._age, request)

    def _age(self, request: pb.AgeTransformRequest) -> pb.AgeTransformResponse:
        clock = Clock()
        result = self._pipeline.age(conversion.read_age_request(request), self._method, clock)
        return conversion.write_age_result(result, self._pipeline, self._method, clock)


async def serve(settings: PeerSettings) -> None:
    server = grpc.aio.server()
    face_aging_pb2_grpc.add_FaceAgingServicer_to_server(Ageing(settings), server)
    server.add_insecure_port(f"127.0.0.1:{settings.port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(PeerSettings.from_environment()))
