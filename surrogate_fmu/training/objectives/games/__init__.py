"""Adversarial games, one file each: the losses of two players, with their equations."""
