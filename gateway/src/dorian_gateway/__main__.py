"""``python -m dorian_gateway`` is the command ``dorian-gateway``."""

from dorian_gateway.cli import main

if __name__ == "__main__":
    main()
