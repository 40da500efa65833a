"""What a run came to: read from its directory alone, for the gateway, the command line and Python."""
