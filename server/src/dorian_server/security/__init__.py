"""Security: API keys, quotas of callers, and TLS."""
