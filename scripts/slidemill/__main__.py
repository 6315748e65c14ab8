"""Run the command line as ``python -m slidemill``."""

import sys

from slidemill.errors import INTERRUPTED


def main() -> int:
    """Run a command, and return its exit code, also where Ctrl-C ends it while its libraries load."""
    try:
        from slidemill.cli.commands import main as run
    except KeyboardInterrupt:
        sys.stderr.write("slidemill: ended by Ctrl-C\n")
        return INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
