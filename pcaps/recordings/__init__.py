"""Captures recorded from real protocol stacks on loopback: `python -m pcaps.recordings [NAME ...]`."""
