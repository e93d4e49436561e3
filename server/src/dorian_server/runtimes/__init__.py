"""Sessions: opened graphs, with a file per runtime behind one protocol."""
