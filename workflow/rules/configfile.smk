# The package, and the file of the configuration before Snakemake merges it with anything.

import sys
from os import environ, pathsep
from pathlib import Path

SCRIPTS = Path(workflow.basedir).parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
# Snakemake puts scripts' folder last on a job's path: an installed copy of the package would win.
environ["PYTHONPATH"] = pathsep.join(filter(None, [str(SCRIPTS), environ.get("PYTHONPATH")]))

from slidemill.runs.config_file import check_file
from slidemill.errors import ConfigError

if workflow.is_main_process:
    try:
        for path in workflow.config_settings.configfiles or [SCRIPTS.parent / "config" / "config.yaml"]:
            check_file(Path(path))
    except ConfigError as error:
        sys.exit(f"slidemill: the configuration is wrong, and nothing has been run:\n{error}")
