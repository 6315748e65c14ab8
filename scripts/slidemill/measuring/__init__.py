"""Measure candidates for stores, a backend and an encoding each, on sampled patches."""
