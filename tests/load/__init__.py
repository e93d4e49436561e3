"""A server under load, measured: ``python -m tests.load --help``."""
