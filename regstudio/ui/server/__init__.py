"""How the page is served: address, allowed requests, tunnel."""
