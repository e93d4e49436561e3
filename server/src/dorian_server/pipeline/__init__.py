"""The way of a photo through the server, and the steps on it."""
