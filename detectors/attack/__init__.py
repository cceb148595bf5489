"""MITRE ATT&CK for ICS as data: names, pinned to a version, which rules use them, and whether they live."""
