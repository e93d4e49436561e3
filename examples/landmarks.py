"""Draw the 73 points that the embedded bundle places on faces, of upright photos and of the same ones turned.

Run from the repository's root, in an environment that has the server:

    python examples/landmarks.py docs/landmarks.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import load_bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_server.faces.detector import NetworkDetector
from dorian_server.runtimes.factory import open_session
from dorian_server.runtimes.options import SessionOptions
from dorian_server.runtimes.session import Session

ROOT = Path(__file__).parents[1]
TILE, COLUMNS = 200, 8
SHARE = 0.7  # of a tile, that a face takes up
Pixels = NDArray[np.uint8]


def read_photos() -> list[Pixels]:
    """Return the example photos, RGB (height, width, 3): twelve upright, then the same by turns on their side and upside down."""
    paths = [*sorted((ROOT / "examples" / "faces").glob("*.webp")), *sorted((ROOT / "examples").glob("*.jpg"))]
    upright = [np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8) for path in paths]
    turned = [np.ascontiguousarray(np.rot90(photo, 1 + index % 3)) for index, photo in enumerate(upright)]
    return [*upright, *turned]


def draw_tile(photo: Pixels, face: DetectedFace) -> Pixels:
    """Return the surroundings of a face with its points, and how it is turned."""
    assert face.mesh is not None
    assert face.pose is not None
    scale = SHARE * TILE / float(np.ptp(face.mesh, axis=0).max())
    shift = TILE / 2 - scale * (face.mesh.min(axis=0) + face.mesh.max(axis=0)) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    tile = cv2.warpAffine(photo, matrix, (TILE, TILE), flags=cv2.INTER_AREA, borderValue=(40, 40, 40))
    for x, y in cv2.transform(face.mesh[None], matrix)[0]:
        cv2.circle(tile, (round(x), round(y)), 1, (0, 255, 0), -1, cv2.LINE_AA)
    text = f"{face.pose.yaw:+.0f} {face.pose.pitch:+.0f} {face.pose.roll:+.0f}"
    cv2.putText(tile, text, (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(tile, dtype=np.uint8)


def main() -> None:
    """Write the sheet to the path that is given."""
    bundle = load_bundle(ROOT / "models" / "default")
    graphs = bundle.manifest.graphs

    def open_graph(name: str) -> Session:
        return open_session("onnxruntime", bundle.graph_path(name), graphs[name].signature, SessionOptions())

    detector = NetworkDetector(bundle.manifest.readers, bundle.manifest.alignment, open_graph)
    tiles = [draw_tile(photo, detector.detect(photo)[0]) for photo in read_photos()]
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(sys.argv[1], cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
