"""`python -m regstudio` is the command `regstudio`."""

from regstudio.cli import main

main()
