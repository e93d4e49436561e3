"""Runs the command as `python -m dorian_client.cli`."""

from __future__ import annotations

from dorian_client.cli.main import main

main(prog_name="dorian")
