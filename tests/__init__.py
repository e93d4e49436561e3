"""The tests: a package per part of the project."""
