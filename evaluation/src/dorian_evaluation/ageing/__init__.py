"""Metrics of ageing, end to end through a server."""
