"""Decoding and detecting in a process of its own: a fault or a hang there costs one batch of frames, never the sensor.

The sensor keeps what must not die: the interfaces, the spool, the way to the console. Frames go to the worker through
shared memory (`handover.py`) and findings come back over a socket (`channel.py`); `supervisor.py` watches, cuts, sets
aside and starts anew, `child.py` is what runs inside, and `confinement.py` says what it can still do there.
"""
