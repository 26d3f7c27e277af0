"""The console: read-only pages for operators, rendered on the server."""
