"""Attacks on a server of one's own, on this machine: hostile pictures, odd requests, floods of frames; and whom it calls itself."""
