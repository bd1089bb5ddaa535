"""The slow component that is to be replaced: what it must offer, how to excite it, how to record it."""
