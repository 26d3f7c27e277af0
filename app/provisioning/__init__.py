"""What the stack needs before it starts: secrets and configuration made from settings."""
