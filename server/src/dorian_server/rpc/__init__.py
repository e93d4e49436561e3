"""What every RPC shares: statuses, interceptors and the health service."""
