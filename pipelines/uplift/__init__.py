"""Learners of what each action changes, and how good their rankings are."""
