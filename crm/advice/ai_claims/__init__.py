"""Generations: who is writing about which lead right now, so that two do not write the same."""
