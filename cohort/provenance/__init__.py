"""The sealed record of a study: what its results rest on, who vouches for it, and whether it can be made again."""
