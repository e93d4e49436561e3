"""Compares ways to serve the pipeline: ``python -m bench.serving --help``."""
