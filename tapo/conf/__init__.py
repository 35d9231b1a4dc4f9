"""The Hydra group behind `+tapo=...`."""
