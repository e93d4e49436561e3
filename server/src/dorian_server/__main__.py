"""``python -m dorian_server`` is the command ``dorian-server``."""

from dorian_server.cli.serve import main

main()
