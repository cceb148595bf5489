"""Logs of other programs as a source of the same events: Zeek with ICSNPP, Suricata. One file for each program."""
