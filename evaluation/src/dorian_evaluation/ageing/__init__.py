"""The figures of ageing, end to end through a server."""
