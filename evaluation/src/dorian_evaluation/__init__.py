"""Measures what a bundle does, by networks that took no part in its training."""
