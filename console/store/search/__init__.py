"""Search: what of a finding can be searched, the language in which people ask, and the stores that answer."""
