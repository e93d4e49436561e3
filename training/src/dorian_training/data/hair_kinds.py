"""What FairFace's faces wear on their heads, and which have a beard, labelled by eye on sheets of pictures: ``hair_kinds.csv`` beside this module.

Of ``file`` it says what is on the ``head``: "hair", "bald", or "covered" by a hat, a scarf, a helmet or the like; and of men what
``beard`` they have: "beard", "moustache" alone, or "none". What cannot be made out is left empty.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal, cast

from dorian_training.data.records import FaceRecord

Head = Literal["hair", "covered", "bald"]
Beard = Literal["beard", "moustache", "none"]

_BARE_HEADED = "portraits"  # in which hardly anybody wears something
_BEARDLESS = 9  # years up to which nobody has a beard


@dataclass(frozen=True)
class HairKind:
    """What is on a ``head``, and what ``beard`` a face has; ``None``: not known."""

    head: Head | None = None
    beard: Beard | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return self.head is not None or self.beard is not None


def hair_kind(record: FaceRecord) -> HairKind:
    """Return what is known of a face's hair. Only of faces that are listed, or of sets whose heads are bare, is it told that women and children have no beard."""
    kind = HairKind(head="hair") if record.source == _BARE_HEADED else _listed().get(record.name, HairKind())
    is_child = record.age_high is not None and record.age_high <= _BEARDLESS
    if kind.is_known and (record.is_woman or is_child):
        return HairKind(kind.head, "none")
    return kind


@lru_cache(maxsize=1)
def _listed() -> Mapping[str, HairKind]:
    rows = csv.DictReader((files(__package__) / "hair_kinds.csv").read_text().splitlines())
    return {
        row["file"]: HairKind(cast(Head | None, row["head"] or None), cast(Beard | None, row["beard"] or None))
        for row in rows
    }
