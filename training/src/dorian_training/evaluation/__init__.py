"""Evaluation by independent networks, which take no part in training and are never shipped; a measurement per file."""
