"""Events to findings. Imports sensor (schema, events, behaviours); the console imports only detectors.finding."""
