"""What a run constructed and learned, for the eye."""
