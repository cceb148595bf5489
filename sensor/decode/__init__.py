"""The compiled path: link, IP, TCP streams, hand-over to protocols, interning of behaviours."""
