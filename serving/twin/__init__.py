"""What applications ask of the twin: now and at any past instant, its timeline, and why something was said."""
