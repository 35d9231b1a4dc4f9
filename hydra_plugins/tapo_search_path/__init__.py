"""Hydra plugin of TAPO: see `tapo_search_path.tapo_search_path`."""
