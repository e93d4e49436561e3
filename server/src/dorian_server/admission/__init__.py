"""Admission: who may begin, who waits, and who is told at once to come again later."""
