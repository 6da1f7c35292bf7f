"""How simulated networks are held against a solved theory, one module per kind of trajectory."""
