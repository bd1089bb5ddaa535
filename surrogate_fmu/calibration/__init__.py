"""From measurements of one unit to the latents that explain them: the surrogate of a fleet becomes the twin of one unit."""
