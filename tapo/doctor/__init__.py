"""`tapo doctor`: what is wrong with a run, before it costs anything."""
