"""Figures: what the machines and their guests use, as numbers with a history."""
