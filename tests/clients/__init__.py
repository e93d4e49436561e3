"""Tests of the Python SDK and the dorian command."""
