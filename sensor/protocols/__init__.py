"""One protocol, one file. Adding a protocol is one new file, one line in `explainers`, and its branch in decode/messages.py.

Compiled code cannot call what it looks up in a list; that is why the branch is there.
"""
