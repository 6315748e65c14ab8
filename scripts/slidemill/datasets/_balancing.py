"""Assign groups to folds with balanced numbers of patches and strata."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from math import isqrt

SCALE = 2**128
"""Scale of weights as whole numbers, whose sums are the same on every machine and in any order."""

ALIKE = 3
"""Groups whose sizes agree in this many leading bits count as equally large: they differ by at most 25 %."""


def balance_groups(groups: Mapping[str, Mapping[str, int]], folds: int, seed: int) -> dict[str, int]:
    """Return the fold of each group, from 0.

    Groups are assigned by size, largest first; the seed orders equally large ones. Each goes to the fold where the sum
    of the squared shares, of all patches and of each stratum, grows the least. The sum of the squared deviations from
    an equal share is then at most ``1 - 1 / folds`` times the sum of the groups' squared shares. Without strata, no two
    folds differ by more than the largest group.

    Parameters
    ----------
    groups
        By group, the number of patches per stratum.
    folds
        Number of folds, at most that of groups, so that none is empty.
    seed
        Seed of the order of equally large groups.
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
        # A fold's sum of squares grows by twice this, plus a term that is the same for all folds.
        growth = [sum(weight * load[stratum] for stratum, weight in own) for load in loads]
        fold = growth.index(min(growth))
        loads[fold].update(vectors[name])
        chosen[name] = fold
    return chosen
