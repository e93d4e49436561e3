"""Metrics of AE-StyleGAN: reconstruction, styles mixed by presets, and time."""
