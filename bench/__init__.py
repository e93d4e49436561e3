"""Tools that measure speed and load: servers side by side, runtimes, latent searches, and a server under load."""
