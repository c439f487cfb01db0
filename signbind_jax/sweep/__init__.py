"""Sweeps: one stage trained at every point of a grid of config values, and the table of scores."""
