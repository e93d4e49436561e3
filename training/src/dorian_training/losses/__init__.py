"""Losses, a family per file; each a function of tensors alone."""
