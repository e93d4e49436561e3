"""Methods: how a family's graphs make an aged face of a crop; a file per family."""
