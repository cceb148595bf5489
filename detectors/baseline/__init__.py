"""Baselines: what is normal on a network, learned, read and approved by people, signed, and compared with."""
