"""The twin consults as events arrive: what begins to hold fires, and what fired is delivered."""
