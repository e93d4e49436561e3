"""The `dorian` command: `main` is the program, with a module for each of its commands."""
