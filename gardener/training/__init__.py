"""Training an adapter on a project's own code: examples, the process that trains, and what it has learnt."""
