"""Sessions: one graph each, opened in a runtime; a file per runtime behind one protocol."""
