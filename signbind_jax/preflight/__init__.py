"""What a config needs and how long it may take on a machine that is not there."""
