"""`marquee init`: create the secrets and configuration files that the stack needs to start."""
