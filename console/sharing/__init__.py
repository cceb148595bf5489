"""What leaves the house and what comes in: markings, STIX 2.1, TAXII 2.1."""
