"""Faces of a photo: detected, aligned, and read by the networks that every photo passes."""
