"""Devices that verl does not know: the CPU."""
