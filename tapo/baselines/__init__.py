"""What the paper compares TAPO with and verl lacks: self-distillation, and SFT on what a run has sampled."""
