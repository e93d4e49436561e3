"""Lets pages show and link the repository's files outside docs/.

``<!-- include: ../README.md -->`` shows a file in a page. Links are written as they work in the repository; here those to a
file that a page shows lead to that page, those to other files to a copy, and those to folders become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)]*)?\)")
IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s:]+)\)")

# files outside docs/, and the pages that show them
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "models/default/README.md": "model-card.md",
}
logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", prepare)
    return {"version": "1", "parallel_read_safe": True}


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a page's include markers, and adapt the links of the page and of what it includes."""
    page = Path(app.env.doc2path(docname))
    text = adapt(source[0], page.parent, page)
    for marker in INCLUDE.finditer(text):
        path = (page.parent / marker[1]).resolve()
        app.env.note_dependency(str(path))
        text = text.replace(marker[0], adapt(path.read_text(encoding="utf-8"), path.parent, page))
    source[0] = text


def adapt(text: str, folder: Path, page: Path) -> str:
    """Return ``text`` of a file in ``folder`` with its links and images as ``page`` needs them."""

    def link(match: re.Match[str]) -> str:
        path = (folder / match["target"]).resolve()
        if not path.exists():
            logger.warning(
                "link to a missing file: %s",
                match["target"],
                location=page.relative_to(DOCS).with_suffix("").as_posix(),
            )
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            path = DOCS / PAGES[name]
        elif path.is_dir() or (path.suffix == ".md" and not path.is_relative_to(DOCS)):
            return match["text"]
        return f"[{match['text']}]({relative(path, page)}{match['anchor'] or ''})"

    def image(match: re.Match[str]) -> str:
        return f"![{match['text']}]({relative((folder / match['target']).resolve(), page)})"

    return LINK.sub(link, IMAGE.sub(image, text))


def relative(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()
