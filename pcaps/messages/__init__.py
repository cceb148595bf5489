"""Protocol messages as bytes, written from the standards and not from our decoder, so that each can test the other."""
