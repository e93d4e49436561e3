"""Serves a Dorian bundle over gRPC. Nothing here imports torch."""

__version__ = "0.1.0"
