"""Run directories: what trains in one, what is saved there, how a run is stopped and goes on."""
