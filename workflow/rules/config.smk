# The checked configuration, and the slides.

import gc
import sys
from os import environ
from pathlib import Path

import yaml

from slidemill.runs.slide_list import check_sheet, list_slides
from slidemill.runs.config import read_config
from slidemill.runs.config_file import check_size
from slidemill.slides.file_endings import ignored_warnings
from slidemill.errors import ConfigError, explain
from slidemill.core.results_layout import PLAN
from slidemill.slides.fingerprint import fingerprint
from slidemill.runs.run_plan import planned_print, read_plan, write_plan

# A cluster's jobs start elsewhere, with the environment of the run that sent them.
if workflow.is_main_process:
    environ["SLIDEMILL_STARTED_IN"] = str(Path.cwd())

try:
    check_size(config)
    CONFIG = read_config(config, base=Path(environ.get("SLIDEMILL_STARTED_IN", Path.cwd())))
    planned = CONFIG.results / PLAN
    if workflow.is_main_process or not planned.exists():
        listed, remarks = list_slides(
            CONFIG, yaml.safe_load(Path(workflow.basedir, "schemas/slides.schema.yaml").read_text())
        )
        SLIDES, PRINTS = {slide.slide: slide for slide in listed}, {}
        # About the whole run; those about a slide are in the outcomes of its stages.
        NOTES = remarks.notes
        WARNINGS = [*ignored_warnings(CONFIG.slides, CONFIG.results), *remarks.warnings]
        check_sheet(CONFIG.splits, SLIDES.values())
    else:
        plan = read_plan(planned)
        SLIDES, PRINTS, NOTES, WARNINGS = dict(plan.slides), dict(plan.prints), [], list(plan.warnings)
except (ConfigError, OSError) as error:
    sys.exit(f"slidemill: the configuration is wrong, and nothing has been run:\n{explain(error)}")

if workflow.is_main_process:
    for line in [*NOTES, *(f"warning: {warning}" for warning in WARNINGS)]:
        print(f"slidemill: {line}", file=sys.stderr)

# A plan is millions of objects that live to its end: looking for garbage among them took a third of its time.
gc.freeze()
gc.set_threshold(1_000_000, 100, 100)
