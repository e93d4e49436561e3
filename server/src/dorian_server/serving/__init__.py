"""The gRPC server: its services, the bundles that it serves, and the conversion of messages."""
