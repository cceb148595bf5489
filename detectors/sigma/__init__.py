"""Sigma rules over industrial events: parsed by pySigma, compiled here, matched in the stream.

rule.py       what a rule is when it is ready to run
tree.py       conditions as data, and what evaluates them
columns.py    which fields columns decide, so that most events are never described
parse.py      Sigma YAML to rules; the only file that imports pySigma
ruleset.py    folders of rules, with the compiled plan kept between runs
matcher.py    behaviours and events to the rules that they match
samples.py, sample_frames.py, envelopes.py, sample_run.py   samples of rules, run through the real decoder
"""
