"""The report of a run for people who do not read code."""
