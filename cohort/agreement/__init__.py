"""How far virtual arms are from real ones, and how sure of it one can be."""
