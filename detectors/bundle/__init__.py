"""Configuration of sensors as their console gives it: rules, baseline, tags, tickets, levels, assets, signed as one.

`signed.py` is the form in which it travels, `content.py` what the files mean, `keeper.py` what a sensor does with it.
"""
