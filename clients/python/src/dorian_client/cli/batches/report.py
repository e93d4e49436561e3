"""The report of a batch: a line of JSON for each photo, a row of CSV for each face, and one page for people."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from dorian_client._files import JPEG, decode_image, encode_image
from dorian_client.cli.batches.folders import ResultFolder
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.errors import PhotoError

REPORT_NAME = "dorian-report"
_THUMBNAIL = 160  # pixels
_THUMBNAIL_QUALITY = 80
_MAX_SHOWN = 100  # photos of the contact sheet
_MAX_ERRORS = 1000  # rows of the page's table of errors
_COLUMNS = (
    "photo", "status", "reason", "error", "attempts", "seconds", "method", "bundle", "target", "path", "face", "source",
    "source_given", "estimated_age_after", "similarity", "same_person", "warnings",
)  # fmt: skip


@dataclass(frozen=True)
class ReportedPhoto:
    """A photo of the batch with its record; None if it was not reached."""

    planned: PlannedPhoto
    record: Mapping[str, Any] | None


def write_report(out: ResultFolder, photos: Sequence[ReportedPhoto], settings: Mapping[str, str]) -> str:
    """Write the three files of the report, each whole or not at all, and return the page's path or URL.

    Args:
        out: The folder of results.
        photos: All photos of the batch.
        settings: What the page says at its head.

    Raises:
        OSError: A file cannot be written.
    """
    records = [photo.record or {"photo": photo.planned.photo.source, "status": "open"} for photo in photos]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    out.write(f"{REPORT_NAME}.jsonl", lines.encode())
    out.write(f"{REPORT_NAME}.csv", _table(records).encode())
    page = f"{REPORT_NAME}.html"
    out.write(page, _page(photos, records, settings, out).encode())
    return out.path_of(PurePosixPath(page))


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", restval="")
    writer.writeheader()
    for record in records:
        rows = [
            {**picture, **face, "warnings": "; ".join(face["warnings"])}
            for picture in record.get("pictures", [])
            for face in picture["faces"]
        ]
        writer.writerows({**record, **row} for row in rows or [{}])
    return text.getvalue()


def _page(
    photos: Sequence[ReportedPhoto],
    records: Sequence[Mapping[str, Any]],
    settings: Mapping[str, str],
    out: ResultFolder,
) -> str:
    environment = Environment(
        loader=PackageLoader("dorian_client.cli.batches"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    counts = Counter(str(record["status"]) for record in records)
    errors = [record for record in records if "error" in record]
    done = [photo for photo in photos if photo.record is not None and photo.record["status"] == "done"]
    shown = done[:: -(-len(done) // _MAX_SHOWN) or 1]
    return environment.get_template("report.html.j2").render(
        settings=settings,
        counts={status: counts[status] for status in ("done", "rejected", "failed", "open") if counts[status]},
        errors=errors[:_MAX_ERRORS],
        hidden_errors=max(0, len(errors) - _MAX_ERRORS),
        done_count=len(done),
        sheet=[_sheet_row(photo, out) for photo in shown],
    )


def _sheet_row(photo: ReportedPhoto, out: ResultFolder) -> dict[str, Any]:
    assert photo.record is not None
    pictures = photo.record["pictures"]
    return {
        "photo": photo.record["photo"],
        "before": _thumbnail(photo.planned.photo.read),
        "pictures": [
            {**picture, "after": _thumbnail(partial(out.read, PurePosixPath(picture["path"])))} for picture in pictures
        ],
    }


def _thumbnail(read: Callable[[], bytes]) -> str | None:
    """Return a small picture as a data URL; None if the file cannot be read any more."""
    try:
        image = decode_image(read()).convert("RGB")
    except (OSError, SyntaxError, ValueError, PhotoError):
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    data = encode_image(image, JPEG, _THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
