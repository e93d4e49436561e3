"""The same fields as the two kinds of a request's body."""

from __future__ import annotations

import base64
import json
from typing import Any


def as_json(photo: bytes, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a body in JSON; photo and references are in base 64."""
    body = {"photo": base64.b64encode(photo).decode(), **fields}
    if "references" in fields:
        body["references"] = [base64.b64encode(data).decode() for data in fields["references"]]
    return {"json": body}


def as_form(photo: bytes, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a form: photo and references as files, lists item by item, what is no text as JSON."""

    def write(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    data = {
        name: [write(item) for item in value] if isinstance(value, list) else write(value)
        for name, value in fields.items()
        if name != "references"
    }
    references = [("references", reference) for reference in fields.get("references", [])]
    return {"data": data, "files": [("photo", ("photo.png", photo, "image/png")), *references]}
