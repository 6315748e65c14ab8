"""Run the command line as ``python -m slidemill``."""

import sys

from slidemill.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
