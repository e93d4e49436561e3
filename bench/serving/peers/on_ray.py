"""The pipeline under Ray Serve: replicas, each a process, with threads for the requests that run at once in each."""

from __future__ import annotations

import asyncio
import signal

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from bench.serving.task import PeerSettings


class Ageing:
    """A photo's bytes in, the picture's out."""

    def __init__(self, threads: int) -> None:
        from bench.serving.work import open_work  # the process in front needs no graphs

        self._age = open_work(threads)

    async def __call__(self, request: Request) -> Response:
        return Response(await asyncio.to_thread(self._age, await request.body()), media_type="image/jpeg")


def main() -> None:
    settings = PeerSettings.from_environment()
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": settings.port})
    deployment = serve.deployment(
        Ageing,
        num_replicas=settings.processes,
        max_ongoing_requests=settings.at_once,
        ray_actor_options={"num_cpus": 0.5},
        logging_config={"enable_access_log": False},
    )
    serve.run(deployment.bind(settings.threads))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
