"""Data sets: records of faces from archives and public layouts, aligned crops of them, and balanced batches."""
