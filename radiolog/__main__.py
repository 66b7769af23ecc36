"""`python -m radiolog`."""

from radiolog.cli import main

main()
