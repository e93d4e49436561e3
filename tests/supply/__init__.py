"""What is installed: locks, their audit, and the image."""
