"""Hunting back: what a run leaves in the archive (recorder.py), and searching there (search.py and what it uses)."""
