"""One protocol, one file.

Adding one: a new file, a line in EXPLAINERS (sensor/view.py), its branch in sensor/decode/messages.py. Compiled code
cannot call what it looks up in a list; that is why the branch is there.
"""
