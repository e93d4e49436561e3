"""How long a face takes on one core."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from dorian_bundle import Bundle
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Array, RunGraph
from dorian_evaluation.graphs import open_graph

_RUNS, _FIRST_RUNS = 30, 5


def measure_times(bundle: Bundle, method: AeStyleGanMethod) -> dict[str, float]:
    """Return the median milliseconds of one face in encoder and generator, in ONNX Runtime with one thread."""
    encoder, generator = (open_graph(bundle, name, threads=1) for name in (method.encoder, method.generator))
    image = {"image": np.full((1, 3, method.crop_size, method.crop_size), 0.5, dtype=np.float32)}
    code = dict(encoder(image))
    encoded, drawn = _median_time(encoder, image), _median_time(generator, code)
    return {"encoder": round(encoded, 2), "generator": round(drawn, 2), "sum": round(encoded + drawn, 2)}


def _median_time(graph: RunGraph, inputs: dict[str, Array]) -> float:
    times = []
    for run in range(_FIRST_RUNS + _RUNS):
        start = perf_counter()
        graph(inputs)
        if run >= _FIRST_RUNS:
            times.append(1000 * (perf_counter() - start))
    return float(np.median(times))
