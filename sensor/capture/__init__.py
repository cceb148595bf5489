"""Where frames come from. Every source gives FrameBatch."""
