"""Findings over a link with one direction, as a data diode has it: nothing ever comes back."""
