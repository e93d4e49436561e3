"""Metrics of Antipov et al. 2017: generation, reconstruction and ageing by Age-cGAN."""
