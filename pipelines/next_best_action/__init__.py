"""The model of what each action changes: its steps, from the dataset to the registry."""
