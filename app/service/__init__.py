"""The web service that returns recommendations."""

#: Key of `Flask.extensions`: a function that each worker calls after the fork, where there is one.
AFTER_FORK = "marquee.after_fork"
