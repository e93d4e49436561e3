"""The server's own types: requests, results, callers, clock and errors. They import nothing of its other packages."""
