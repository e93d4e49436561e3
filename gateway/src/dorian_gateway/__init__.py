"""HTTP and a web page in front of a Dorian server.

The gateway is a client of the server: it reads a request, calls the server by gRPC, and writes what the server says. It has
no networks and no pipeline, and keeps no photo longer than its request.
"""

from dorian_gateway.app import create_app
from dorian_gateway.settings import Settings

__all__ = ["Settings", "create_app"]
