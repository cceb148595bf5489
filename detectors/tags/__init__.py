"""Tags: points of a plant by name, with engineering limits, and their values on the wire."""
