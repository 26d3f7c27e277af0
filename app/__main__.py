"""`python -m app`: the `marquee` command."""

from app.cli import main

main()
