"""Captures made by this project, what each must show, and the scripts that make them. Nothing else may import this."""
