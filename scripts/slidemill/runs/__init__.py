"""The plan, parameters, lock and code digests of a run.

It imports all folders but stages and cli.
"""
