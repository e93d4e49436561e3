"""Measures a server under load: ``python -m bench.load --help``."""
