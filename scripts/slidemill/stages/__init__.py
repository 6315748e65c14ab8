"""Jobs of all rules, and operations of commands; imports all folders but cli."""

import os

# When NumPy loads, its linear algebra starts a thread per core, which no job uses: a quarter of the CPU time of loading
# it. A value that the user has set stays.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
