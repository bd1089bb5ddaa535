"""Systems in SSP archives (SSP 1.0): put the surrogate in the plant's place, and compare the system before and after."""
