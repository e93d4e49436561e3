"""What the tests of the page do in the browser, and photos for them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Page, expect

from tests.gateway.gateway_process import ROOT

ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
HOPPER = ROOT / "examples" / "grace_hopper.jpg"
MILLISECONDS = 60_000
Pixels = npt.NDArray[np.int16]


def upload(page: Page, photo: Path | bytes, name: str = "portrait.jpg") -> None:
    """Choose a photo, and wait until its ages are there."""
    file = str(photo) if isinstance(photo, Path) else {"name": name, "mimeType": "image/jpeg", "buffer": photo}
    page.locator("#file").set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_role("button", name="Download")).to_be_enabled(timeout=MILLISECONDS)


def canvas_pixels(page: Page) -> Pixels:
    """Return what the page shows, (height, width, 3)."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    url: str = page.evaluate("document.getElementById('picture').toDataURL('image/png')")
    return pixels_of(base64.b64decode(url.partition(",")[2]))


def pixels_of(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16)


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def two_people() -> bytes:
    """Return a photo of two, the larger face on the left."""
    left, right = Image.open(ASTRONAUT), Image.open(HOPPER).convert("RGB")
    right = right.resize((round(right.width * 400 / right.height), 400))
    photo = Image.new("RGB", (left.width + right.width, left.height), (128, 128, 128))
    photo.paste(left.crop((120, 20, 376, 276)).resize((512, 512)), (0, 0))
    photo.paste(right, (512, 56))
    return jpeg(photo)


def set_slider(page: Page, name: str, value: int) -> None:
    page.get_by_role("slider", name=name, exact=True).fill(str(value))
