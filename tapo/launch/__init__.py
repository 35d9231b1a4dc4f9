"""Where a run of verl starts: what is refused, checked and filled in before anything trains."""
