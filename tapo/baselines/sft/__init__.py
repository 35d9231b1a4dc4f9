"""SFT on what a run, a cold start or a sampling has left: constructed trajectories, or correct rollouts."""
