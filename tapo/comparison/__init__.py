"""Comparisons: a plan of runs and seeds, stated before it runs, and the report that it ends in."""
