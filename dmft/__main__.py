"""`python -m dmft` is the program `dmft`."""

from .cli import main

main()
