"""Slides as examples for multiple-instance learning: targets, aligned features, and bags.

It imports core and features.
"""
