"""Programs that kill, fill, flip and crowd a real Gardener, and count what was lost: `make faults`, `make soak`."""
