"""`osteon doctor`: looks at this box and at every peer, and names each fault with its remedy."""
