"""What tests of `dorian batch` share: photos that are told apart, and what a server was sent and a folder holds."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client.testing import FakeServer


def make_photo(path: str, number: int) -> Path:
    """Write a photo whose colour is its number."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (number, 100, 7)).save(file, lossless=True)
    return file


def files_of(folder: str = "aged") -> set[str]:
    """Return the files of a folder, but for the report and the ledger."""
    files = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    return {name for name in files if not name.startswith(("dorian-report.", ".dorian-batch."))}


def sent(fake: FakeServer) -> list[int]:
    """Return the numbers of the photos that a server was sent, in the order of its requests."""
    numbers = []
    for request in fake.requests:
        if isinstance(request, pb.AgeTransformRequest):
            with Image.open(BytesIO(request.image.data)) as image:
                numbers.append(image.convert("RGB").getpixel((5, 5))[0])
    return numbers


def records(folder: str = "aged") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "dorian-report.jsonl").read_text().splitlines()]
