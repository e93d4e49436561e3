"""The figures of the networks that see faces."""
