"""Faces in a photo: found, aligned, and read by the networks that every photo passes."""
