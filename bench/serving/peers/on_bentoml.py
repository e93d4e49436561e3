"""The pipeline under BentoML: worker processes on one socket, with threads for the requests that run at once in each."""

import bentoml

from bench.serving.task import PeerSettings

_PATIENCE = 300  # seconds
_SETTINGS = PeerSettings.from_environment()


@bentoml.service(
    workers=_SETTINGS.processes,
    threads=_SETTINGS.at_once,
    traffic={"timeout": _PATIENCE},
    logging={"access": {"enabled": False}},
)
class Ageing:
    """A photo's bytes in, the picture's out."""

    def __init__(self) -> None:
        from bench.serving.work import open_work  # the process in front needs no graphs

        self._age = open_work(_SETTINGS.threads)

    @bentoml.api(route="/age")
    def age(self, photo: bytes, /) -> bytes:
        return self._age(photo)


if __name__ == "__main__":
    bentoml.serve("bench.serving.peers.on_bentoml:Ageing", host="127.0.0.1", port=_SETTINGS.port, blocking=True)
