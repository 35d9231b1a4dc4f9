"""`tapo plan`: what a run will cost, calculated from its config and from stated assumptions."""
