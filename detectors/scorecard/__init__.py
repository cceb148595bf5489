"""The score card: what the detectors find in captures whose truth others have written down, and how often they err."""
