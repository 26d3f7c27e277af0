"""`python -m app`: the same as the `marquee` command."""

from app.cli import main

main()
