"""Pictures, plots and the HTML report.

It imports all folders but runs, stages and cli.
"""
