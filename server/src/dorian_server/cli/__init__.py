"""The commands: ``dorian-server``, its supervisor of several processes, API keys, and the health check."""
