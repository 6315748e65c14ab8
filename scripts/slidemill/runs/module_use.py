"""Use of the workflow as a module of another Snakefile.

The module's prefix is the results folder. Paths of rules get it from Snakemake, and the working directory stays the
other workflow's; `slidemill.stages.job.script_job` enters the results folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slidemill.core.results_layout import REPORT
from slidemill.errors import ConfigError
from slidemill.runs.planning import NOTHING_RUN, WRONG_CONFIG, exits
from slidemill.runs.run_plan import write_plan
from slidemill.runs.workflow import Workflow


def module_prefix(modifier: Any) -> str | None:
    """Return the prefix of a module's paths, empty without one; None if another Snakefile does not use the workflow.

    Parameters
    ----------
    modifier
        The `snakemake.modules.WorkflowModifier` of the Snakefile that is being read.
    """
    if modifier.is_main_snakefile():
        return None
    # Prefixes of modules in modules add up.
    return os.path.dirname(str(modifier.path_modifier.replace_prefix(REPORT)))  # noqa: PTH120 - a text, as Snakemake has it


def module_config(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the configuration of a module, whose results folder is its prefix.

    The process exits where it has no prefix, or the configuration names another folder.
    """
    with exits(WRONG_CONFIG):
        if not prefix:
            raise ConfigError('the module has no prefix: add the results folder, such as prefix: "results/slidemill"')
        given = values.get("results", prefix)
        if Path(given).absolute() != Path(prefix).absolute():
            raise ConfigError(f"results is {given}, and the prefix of the module is {prefix}: leave out results")
    return {**values, "results": prefix}


def record_plan(execute: Callable[..., bool], run: Workflow) -> Callable[..., bool]:
    """Wrap Snakemake's `execute` to write the plan of a module's run first, unless it is a dry run."""

    def executed(*arguments: Any, **settings: Any) -> bool:
        plugin = settings.get("executor_plugin")
        if plugin is not None and not plugin.common_settings.dryrun_exec:
            with exits(NOTHING_RUN):
                write_plan(run.plan(), run.config.results)
        return execute(*arguments, **settings)

    return executed
