"""The commands of ``dorian-train``."""
