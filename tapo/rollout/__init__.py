"""Construction inside verl's agent-loop worker: the data-transform side of TAPO."""
