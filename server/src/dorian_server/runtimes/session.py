"""What a session is to the methods that run graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.graphs import Signature

Array = NDArray[np.float32]


class Session(Protocol):
    """One graph, ready to run; safe to call from several threads."""

    @property
    def signature(self) -> Signature:
        """What the opened graph takes and gives."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for ``inputs`` by name, all float32 with the batch first."""
        ...
