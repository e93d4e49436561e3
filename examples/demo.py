"""Start a server on the embedded bundle, age a photo to every age group, and write a sheet of the results.

python examples/demo.py [PHOTO] [SHEET]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from dorian_client import Box, Client, make_sheet

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "examples" / "astronaut.jpg"
SHEET = ROOT / "demo" / "before_after.jpg"
REACH = 0.9  # from the centre of the face to the edge of a close-up, in widths of its box


@contextmanager
def running_server() -> Iterator[str]:
    """Run a server process on a free port, and yield its address."""
    command = [sys.executable, "-m", "dorian_server", "--host", "127.0.0.1", "--port", "0", "--log-level", "warning"]
    bundle = ROOT / "models" / "default"
    with subprocess.Popen([*command, "--bundle", str(bundle)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()  # "listening on 127.0.0.1:PORT"
            if not line.startswith("listening on "):
                sys.exit("the server did not start; see its messages above")
            yield line.removeprefix("listening on ").strip()
        finally:
            server.terminate()


def close_up(picture: Image.Image, face: Box, reach: float, side: int) -> Image.Image:
    """Return a square of `side` pixels around a face, `reach` from its centre to each edge and within the picture."""
    x, y = face.x + face.width / 2, face.y + face.height / 2
    reach = min(reach, x, y, picture.width - x, picture.height - y)
    box = (x - reach, y - reach, x + reach, y + reach)
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box)


def main(photo: Path = PHOTO, sheet: Path = SHEET) -> None:
    """Age `photo` to every age group, and write the photo and the results to `sheet`."""
    with running_server() as address, Client(address) as client:
        start = time.perf_counter()
        result = client.sweep(photo)
        seconds = time.perf_counter() - start
    with Image.open(photo) as original:
        pictures = [original.convert("RGB"), *(aged.picture.to_pil() for aged in result.photos)]
    labels = ["photo", *(str(aged.faces[0].target) for aged in result.photos)]
    face = result.photos[0].faces[0].box
    if face is None:
        sys.exit(f"no face in {photo}")
    close_ups = [close_up(picture, face, face.width * REACH, picture.height) for picture in pictures]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    make_sheet([*pictures, *close_ups], [*labels, *labels], columns=len(pictures)).save(sheet, quality=92)
    print(f"{photo.name} at {len(result.photos)} ages in {seconds:.2f} s: {sheet}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
