"""Signatures in runtimes that have no names for axes of any length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dorian_bundle.graphs import Signature, TensorSpec

Sizes = Sequence[int | None]  # of a tensor; ``None`` for an axis of any length
_NAMELESS = "?"


def named(inputs: Mapping[str, Sizes], outputs: Mapping[str, Sizes], expected: Signature) -> Signature:
    """The signature of ``inputs`` and ``outputs``, their free axes called as in ``expected`` where they are free there too."""
    specs = {spec.name: spec for spec in (*expected.inputs, *expected.outputs)}
    return Signature(
        inputs=tuple(_spec(name, sizes, specs.get(name)) for name, sizes in inputs.items()),
        outputs=tuple(_spec(name, sizes, specs.get(name)) for name, sizes in outputs.items()),
    )


def _spec(name: str, sizes: Sizes, expected: TensorSpec | None) -> TensorSpec:
    axes = expected.shape if expected is not None and len(expected.shape) == len(sizes) else (0,) * len(sizes)
    shape = (_axis(size, axis) for size, axis in zip(sizes, axes, strict=True))
    return TensorSpec(name=name, shape=tuple(shape))


def _axis(size: int | None, expected: int | str) -> int | str:
    if size is not None:
        return size
    return expected if isinstance(expected, str) else _NAMELESS
