"""Sessions: the protocol of an opened graph, running one in chunks of rows, and naming the axes of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from dorian_bundle.graphs import MAX_BATCH_ROWS, Array, Dimension, Signature, TensorSpec

Arrays = Mapping[str, Array]
Sizes = Sequence[int | None]  # of a tensor; ``None`` for an axis of any length
_UNNAMED = "?"


class Session(Protocol):
    """An opened graph; safe to call from several threads."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs, as the runtime sees them."""
        ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs by name for ``inputs`` by name, all float32 with the batch first."""
        ...


def chunks(rows: int, max_rows: int = MAX_BATCH_ROWS) -> Iterator[slice]:
    """Yield slices of at most ``max_rows`` that cover ``rows``."""
    return (slice(start, start + max_rows) for start in range(0, rows, max_rows))


def run_in_chunks(run: Callable[[Arrays], dict[str, Array]], inputs: Arrays, max_rows: int) -> dict[str, Array]:
    """Return the outputs of ``run`` for ``inputs`` of any number of rows; it is given at most ``max_rows`` at once."""
    rows = len(next(iter(inputs.values())))
    if rows <= max_rows:
        return run(inputs)
    outputs = [run({name: values[chunk] for name, values in inputs.items()}) for chunk in chunks(rows, max_rows)]
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def named_signature(inputs: Mapping[str, Sizes], outputs: Mapping[str, Sizes], expected: Signature) -> Signature:
    """Return the signature of a graph in a runtime that has no names for axes of any length.

    Args:
        inputs: Sizes of its inputs, by name.
        outputs: Sizes of its outputs, by name.
        expected: Gives such an axis its name, where it is of any length there too.
    """
    specs = {spec.name: spec for spec in (*expected.inputs, *expected.outputs)}
    return Signature(
        inputs=tuple(_named_spec(name, sizes, specs.get(name)) for name, sizes in inputs.items()),
        outputs=tuple(_named_spec(name, sizes, specs.get(name)) for name, sizes in outputs.items()),
    )


def _named_spec(name: str, sizes: Sizes, expected: TensorSpec | None) -> TensorSpec:
    axes = expected.shape if expected is not None and len(expected.shape) == len(sizes) else (0,) * len(sizes)
    return TensorSpec(name=name, shape=tuple(_named_axis(*pair) for pair in zip(sizes, axes, strict=True)))


def _named_axis(size: int | None, expected: Dimension) -> Dimension:
    if size is not None:
        return size
    return expected if isinstance(expected, str) else _UNNAMED
