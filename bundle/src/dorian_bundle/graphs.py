"""Graphs: the signature of an ONNX graph, and its files, one per precision."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dorian_bundle.errors import GraphFileError, GraphSignatureError
from dorian_bundle.onnx_contents import require_self_contained
from dorian_bundle.stored_files import StoredFile, describe_file

Precision = Literal["fp32", "fp16"]
Dimension = int | str  # a name for an axis of any length
Array = NDArray[np.float32]  # what graphs take and give
RunGraph = Callable[[Mapping[str, Array]], Mapping[str, Array]]  # inputs to outputs, by name

BATCH = "batch"  # the axis of rows that do not depend on one another
MAX_BATCH_ROWS = 32  # rows that a graph is given at once; even, so that pairs of rows stay together


class TensorSpec(BaseModel):
    """A named input or output. ``shape``: a number for a fixed axis, a name for one that may vary ("batch")."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[Dimension, ...]
    dtype: Literal["float32"] = "float32"

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(map(str, self.shape))}]"


class Signature(BaseModel):
    """All inputs and outputs of a graph, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.inputs))}) -> ({', '.join(map(str, self.outputs))})"

    def require_same(self, other: Signature, owner: str) -> None:
        """Raise ``GraphSignatureError``, which names the ``owner`` of ``other``, unless ``other`` is the same."""
        if self != other:
            raise GraphSignatureError(f"{owner} has the signature {other}, but {self} is needed")


class GraphFile(StoredFile):
    """One file of a graph, and the precision of its weights and arithmetic."""

    kind: ClassVar[str] = "graph file"

    precision: Precision

    @classmethod
    def of(cls, folder: Path, path: str, precision: Precision) -> GraphFile:
        """Return the entry for the file at ``folder / path`` as it is now.

        Raises:
            ExternalDataError: The file loads weights from another one.
            GraphFileError: It is no ONNX file.
        """
        cls.check_contents(path, (folder / path).read_bytes())
        return cls(precision=precision, **describe_file(folder, path).model_dump())

    @classmethod
    def check_contents(cls, path: str, data: builtins.bytes) -> None:
        require_self_contained(data, path)


class Graph(BaseModel):
    """A graph: its signature, which all its files share, and one file per precision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signature: Signature
    files: tuple[GraphFile, ...] = Field(min_length=1)

    @field_validator("files")
    @classmethod
    def _one_per_precision(cls, files: tuple[GraphFile, ...]) -> tuple[GraphFile, ...]:
        precisions = [file.precision for file in files]
        if len(set(precisions)) != len(precisions):
            raise ValueError(f"one file per precision is allowed, got {precisions}")
        return files

    def file(self, precision: Precision | None = None) -> GraphFile:
        """Return the file of ``precision``, by default the most precise; raises ``GraphFileError`` if there is none."""
        if precision is None:
            return max(self.files, key=lambda file: file.precision == "fp32")
        for file in self.files:
            if file.precision == precision:
                return file
        raise GraphFileError(f"no {precision} file; there is {', '.join(file.precision for file in self.files)}")
