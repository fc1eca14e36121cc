"""Components that tabs are made of."""
