"""The commands of ``dorian-evaluate``."""
