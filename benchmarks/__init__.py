"""How fast cohort solves, how exactly, and how that compares to other solvers; nothing of the package needs it."""
