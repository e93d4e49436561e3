"""Ways to serve the pipeline, side by side: ``python -m tests.bench.serving --help``."""
