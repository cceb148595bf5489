"""The passive inventory: which devices there are, what they say they are, and who talks to whom. Nobody is asked."""
