"""Bytes to events. Passive: never sends a frame. Imports nothing else of ours."""
