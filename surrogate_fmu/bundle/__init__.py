"""Bundles: one file that is all a runtime needs. Reading the manifest does not import torch."""

from surrogate_fmu.bundle.archive import Bundle, read_bundle, write_archive

__all__ = ["Bundle", "read_bundle", "write_archive"]
