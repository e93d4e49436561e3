"""Admission: which calls may begin, which wait, and which are told at once to retry."""
