"""Groups to folds, so that all folds have about as much of everything."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from math import isqrt

SCALE = 2**128
"""Whole numbers in place of fractions: sums of them are the same on every machine, in whatever order."""

ALIKE = 3
"""Groups count as equally large where so many leading bits of their sizes are the same: they differ by 25 % at most."""


def balance_groups(groups: Mapping[str, Mapping[str, int]], folds: int, seed: int) -> dict[str, int]:
    """Return each group's fold, from 0, by its name.

    The largest groups come first, and equally large ones in an order that the seed gives. Each goes where the sum of
    squares of the folds' shares grows the least: of their shares in all patches, and in the patches of each stratum.
    So the folds' deviations from an equal share, squared and summed, are no more than the groups' own squared shares
    together, times ``1 - 1 / folds``; without strata, no two folds differ by more than the largest group.

    Parameters
    ----------
    groups
        By group, how many patches it has of each stratum.
    folds
        How many folds; no more than groups, and then none is empty.
    seed
        Of the order among equally large groups.
    """
    totals: Counter[str | None] = Counter()
    vectors: dict[str, dict[str | None, int]] = {}
    for name, counts in groups.items():
        vectors[name] = {None: sum(counts.values())}
        vectors[name].update(counts)
        totals.update(vectors[name])
    weights = {stratum: SCALE // (total * total) for stratum, total in totals.items() if total}

    def order(name: str) -> tuple[int, int, bytes, str]:
        size = isqrt(sum(weights[stratum] * count * count for stratum, count in vectors[name].items() if count))
        leading = size >> max(size.bit_length() - ALIKE, 0)
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()
        return -size.bit_length(), -leading, digest, name

    loads: list[Counter[str | None]] = [Counter() for _ in range(folds)]
    chosen = {}
    for name in sorted(vectors, key=order):
        own = [(stratum, weights[stratum] * count) for stratum, count in vectors[name].items() if count]
        # A fold's sum of squares grows by twice this, and by what is the same for all folds.
        growth = [sum(weight * load[stratum] for stratum, weight in own) for load in loads]
        fold = growth.index(min(growth))
        loads[fold].update(vectors[name])
        chosen[name] = fold
    return chosen
