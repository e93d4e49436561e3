"""Metrics of the networks that read faces."""
