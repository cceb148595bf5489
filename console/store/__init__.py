"""The SQL store: the truth."""
