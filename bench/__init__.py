"""Tools that measure speed and load: ways to serve side by side, runtimes, searches, and a server under load."""
