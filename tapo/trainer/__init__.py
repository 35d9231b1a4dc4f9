"""verl's V1 trainers with TAPO's advantages, loss and metrics."""
