"""Check that a configuration can be read, before Snakemake reads it.

The workflow checks its keys.
"""

import sys
from pathlib import Path

from slidemill.config.config_file import check_file
from slidemill.errors import ConfigError


def main(path: Path) -> None:
    """Exit with one sentence if the configuration at `path` cannot be read."""
    try:
        check_file(path)
    except ConfigError as error:
        sys.exit(f"slidemill: the configuration is wrong, and nothing has been run:\n{error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
