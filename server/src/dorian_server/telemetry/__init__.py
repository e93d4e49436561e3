"""Seeing inside: metrics, traces and a line in the log for every call, none of which holds anything of a photo."""
