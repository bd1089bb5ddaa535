"""From a plant alone to a configuration: what a few runs tell of it, and the plan that follows."""
