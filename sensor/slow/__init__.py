"""Slow protocols, read in plain Python: who has which address, name and neighbour. Each file is one of them.

`sensor/decode/slow_frames.py` picks their frames out of a batch and counts repetitions; `reader.py` parses each
distinct message once, when it is new, and gives `Notice`s.
"""
