"""Engineering operations: what one session of programming software does to a controller, as one finding."""
