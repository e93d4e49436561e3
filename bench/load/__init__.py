"""A server under load, measured: ``python -m bench.load --help``."""
