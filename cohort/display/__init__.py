"""How results are shown wherever they are: tables, and the style of figures."""
