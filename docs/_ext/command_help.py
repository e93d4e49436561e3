"""Help texts of commands, which are plain text, as reStructuredText: a pattern such as ``photos/**/*.jpg`` is no emphasis."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def escape(app: Sphinx, context: object, lines: list[str]) -> None:
    """Escape the asterisks of a description in place."""
    lines[:] = [line.replace("*", "\\*") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen to what sphinx_click reads."""
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", escape)
    return {"parallel_read_safe": True}
