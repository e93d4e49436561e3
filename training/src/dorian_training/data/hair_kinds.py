"""What the heads of FairFace's faces wear, labelled by eye on sheets of pictures: ``hair_kinds.csv`` beside this module.

Of ``file`` it says the ``kind``: "hair", "bald", or "covered" by a hat, a scarf, a helmet or the like. Faces whose hair cannot be
told from the rest are not listed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Literal, cast

from dorian_training.data.records import FaceRecord

Kind = Literal["hair", "covered", "bald"]

_BARE_HEADED = "portraits"  # in which hardly anybody wears something


def hair_kind(record: FaceRecord) -> Kind | None:
    """Return what is on the head of a face; ``None`` where that was not labelled."""
    return "hair" if record.source == _BARE_HEADED else _listed().get(record.name)


@lru_cache(maxsize=1)
def _listed() -> Mapping[str, Kind]:
    rows = csv.DictReader((files(__package__) / "hair_kinds.csv").read_text().splitlines())
    return {row["file"]: cast(Kind, row["kind"]) for row in rows}
