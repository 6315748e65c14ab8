"""Pictures, plots and the report's page; imports all folders but runs, stages and cli."""
