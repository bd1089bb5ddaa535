"""Generated from proto/surrogate_fmu/v1/surrogate.proto by build_tools/generate_stubs.py; not edited by hand."""
