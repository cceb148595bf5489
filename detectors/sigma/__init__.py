"""Sigma rules over events: their samples, and how they are run."""
