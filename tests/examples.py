"""How many examples property tests try: a tenth in `make test`, all in `make check`."""

from hypothesis import settings

ALL = 100
settings.register_profile("quick", max_examples=ALL // 10, deadline=None, derandomize=True, database=None)
settings.register_profile("full", max_examples=ALL, deadline=None)


def examples(number, derandomize=False):
    """Return the settings of a property test that tries `number` examples in the profile `full`.

    Parameters
    ----------
    number
        Examples in the profile `full`; the profile `quick` tries a tenth of them.
    derandomize
        Whether the profile `full` tries the same examples in each run, as `quick` always does.
    """
    own = settings.default
    return settings(max_examples=max(number * own.max_examples // ALL, 5), derandomize=derandomize or own.derandomize)
