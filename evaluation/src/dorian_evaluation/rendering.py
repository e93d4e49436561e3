"""Reports as Markdown: the package's Jinja2 templates, and how numbers are written in them."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_MISSING = "–"


def render(template: str, **context: Any) -> str:
    """Render a template of this package, given by its file's name without ``.md.j2``."""
    environment = Environment(
        loader=PackageLoader("dorian_evaluation"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": format_percent,
        "decimals": format_decimals,
        "signed": format_signed,
        "thousands": format_thousands,
        "short": format_short,
    }
    return environment.get_template(f"{template}.md.j2").render(context)


def format_percent(value: float | None, digits: int = 1) -> str:
    """Write a share, 1 for all, as a percentage."""
    return _MISSING if value is None else f"{100 * value:.{digits}f} %"


def format_decimals(value: float | None, digits: int) -> str:
    """Write a number with a fixed number of decimal places."""
    return _MISSING if value is None else f"{value:.{digits}f}"


def format_signed(value: float | None, digits: int) -> str:
    """Write a number with its sign and a fixed number of decimal places."""
    return _MISSING if value is None else f"{value:+.{digits}f}"


def format_thousands(value: int) -> str:
    """Write a count with commas between thousands."""
    return f"{value:,}"


def format_short(value: float) -> str:
    """Write a number as briefly as possible: 0.5, 25."""
    return f"{value:g}"
