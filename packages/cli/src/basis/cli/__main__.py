"""``python -m basis.cli``."""

from basis.cli.main import main

main()
