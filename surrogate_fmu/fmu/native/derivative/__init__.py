"""Derivatives of graphs as graphs, exact up to rounding."""

from surrogate_fmu.fmu.native.derivative.forward import tangent_graph
from surrogate_fmu.fmu.native.derivative.point import split_at_point
from surrogate_fmu.fmu.native.derivative.reverse import adjoint_graph

__all__ = ["adjoint_graph", "split_at_point", "tangent_graph"]
