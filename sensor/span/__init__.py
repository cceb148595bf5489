"""Is the mirror port right? Each file is one thing that can be wrong with it: how it is seen, and when it is a fault.

`survey.py` walks the frames once and counts; the checks listed in `examine.py` read the counts.
"""
