"""The pipeline under PyTriton: Triton Inference Server, and one process with as many instances as run requests at once."""

from __future__ import annotations

import os
import sysconfig

import numpy as np
from numpy.typing import NDArray
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from bench.serving.task import PeerSettings
from bench.serving.work import open_work

MODEL = "ageing"


def main() -> None:
    settings = PeerSettings.from_environment()
    # Triton's Python backend is linked to libpython, and must not find that of another Python.
    os.environ["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    age = open_work(settings.threads)

    def infer(requests: list[dict[str, NDArray[np.uint8]]]) -> list[dict[str, NDArray[np.uint8]]]:
        return [{"picture": np.frombuffer(age(request["photo"].tobytes()), np.uint8)} for request in requests]

    config = TritonConfig(http_address="127.0.0.1", http_port=settings.port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=[infer] * settings.at_once,
            inputs=[Tensor(name="photo", dtype=np.uint8, shape=(-1,))],
            outputs=[Tensor(name="picture", dtype=np.uint8, shape=(-1,))],
            config=ModelConfig(batching=False),
        )
        triton.serve()


if __name__ == "__main__":
    main()
