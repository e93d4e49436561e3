"""Who may call, and over what: TLS, API keys, and the command that makes keys."""
