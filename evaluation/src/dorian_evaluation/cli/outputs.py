"""What commands leave behind: the report, its files, and errors without a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dorian_bundle import BundleError
from dorian_training.errors import TrainingError


@contextmanager
def click_errors() -> Iterator[None]:
    """Raise errors of bundles, data and servers as click's."""
    try:
        yield
    except (BundleError, TrainingError) as error:
        raise click.ClickException(str(error)) from error


def write_report(text: str, metrics: Mapping[str, Any], out: Path | None, table: Path | None) -> None:
    """Print a report, and write it and its metrics to files.

    Args:
        text: The report as Markdown.
        metrics: The metrics, for JSON.
        out: Where to write the metrics.
        table: Where to write the report.
    """
    click.echo(text)
    if out:
        out.write_text(json.dumps(metrics, indent=2) + "\n")
    if table:
        table.write_text(text)
