"""The page of ``dorian-server``'s flags: ``python -m dorian_server.cli.reference > docs/reference/server-flags.md``."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click

from dorian_server.cli.options import Setting, list_settings, variable_of

_HEAD = """# Flags of dorian-server

Every flag is an environment variable too; a flag takes precedence. This page is generated:
`python -m dorian_server.cli.reference > docs/reference/server-flags.md`.
"""
_TABLE = "| flag | variable | default | values | what it does |\n|---|---|---|---|---|"


def render_flags() -> str:
    """Return the page in Markdown: a table of flags for each group of settings."""
    sections = [_HEAD]
    for group, settings in groupby(list_settings(), key=lambda setting: setting.group):
        rows = "\n".join(_row(setting) for setting in settings)
        sections.append(f"## {group}\n\n{_TABLE}\n{rows}\n")
    return "\n".join(sections)


def _row(setting: Setting) -> str:
    renamed = f" Formerly `{setting.former_option}`." if setting.former_option else ""
    cells = [
        f"`{setting.option}`",
        f"`{variable_of(setting.option)}`",
        _default(setting.default),
        _values(setting),
        f"{setting.help}{renamed}",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else f"`{value}`"


def _values(setting: Setting) -> str:
    match setting.type:
        case click.Choice():
            return ", ".join(f"`{choice}`" for choice in setting.type.choices)
        case click.IntRange() | click.FloatRange():
            low, high = setting.type.min, setting.type.max
            return f"from {low}" if high is None else f"{low} to {high}"
        case click.Path():
            return "file" if setting.type.file_okay else "folder"
    if setting.type is click.BOOL:
        return "no value"
    return f"`{setting.flag.metavar}`" if setting.flag.metavar else "text"


if __name__ == "__main__":
    click.echo(render_flags(), nl=False)
