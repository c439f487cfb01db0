"""Damage to every file that a command reads: what it does, it does within limits, in one line."""
