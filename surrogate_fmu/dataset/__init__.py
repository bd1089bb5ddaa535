"""Recorded runs of a plant: in memory, on disk, split, scaled."""

from surrogate_fmu.dataset.trajectories import Trajectories

__all__ = ["Trajectories"]
