"""Batches of any length, where so many rows are taken at once and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dorian_bundle.graphs import Array
from dorian_server.runtimes.batches import parts

Arrays = Mapping[str, Array]


def run_in_parts(run: Callable[[Arrays], dict[str, Array]], inputs: Arrays, most: int) -> dict[str, Array]:
    """What ``run`` gives for ``inputs``, of which it is given ``most`` rows at a time."""
    rows = len(next(iter(inputs.values())))
    if rows <= most:
        return run(inputs)
    found = [run({name: values[part] for name, values in inputs.items()}) for part in parts(rows, most)]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
