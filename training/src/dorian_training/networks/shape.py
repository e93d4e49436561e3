"""Shapes: the plain numbers that networks are built from, and their way into checkpoints and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self, get_origin, get_type_hints

from dorian_training.errors import CheckpointError


@dataclass(frozen=True)
class NetworkShape:
    """Base of shapes: frozen dataclasses of numbers, strings, tuples of them and other shapes.

    A shape with a ``layout_name`` says it in its dictionary, which tells it from other layouts of the same network.
    """

    layout_name: ClassVar[str | None] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the shape as a dictionary that JSON and YAML can hold."""
        layout = {} if self.layout_name is None else {"layout": self.layout_name}
        return layout | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the shape whose ``as_dict`` gave ``values``, also after a trip through JSON or YAML, which know no tuples.

        Raises:
            CheckpointError: If it has numbers that this version does not know.
        """
        types = get_type_hints(cls)
        names = {item.name for item in fields(cls)}
        numbers = {name: value for name, value in values.items() if name in names or name != "layout"}
        if unknown := sorted(numbers.keys() - names):
            raise CheckpointError(
                f"the shape has {', '.join(unknown)}, which {cls.__name__} does not know: the checkpoint is of another version"
            )
        return cls(**{name: _restored(types.get(name), value) for name, value in numbers.items()})


def _restored(kind: Any, value: Any) -> Any:
    """``value`` as a field of type ``kind`` has it."""
    if isinstance(kind, type) and issubclass(kind, NetworkShape):
        return kind.from_dict(value)
    return tuple(value) if get_origin(kind) is tuple else value
