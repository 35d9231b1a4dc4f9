"""Folders and files that survive a kill: whole or not there, and known by what they were made from."""
