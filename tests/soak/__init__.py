"""Long runs of `main_ppo` on the CPU under faults: `python -m tests.soak`."""
