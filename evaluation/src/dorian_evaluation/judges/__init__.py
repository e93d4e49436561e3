"""Independent networks that judge age and identity, and the graphs of a bundle."""
