"""Ways to serve the pipeline, side by side: ``python -m bench.serving --help``."""
