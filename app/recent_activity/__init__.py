"""Recent activity: each user's last movies, followed from the log and read by the service.

The service imports `reader` only, which needs nothing but the standard library.
"""
