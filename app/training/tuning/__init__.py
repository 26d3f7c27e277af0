"""Search for the ranking's parameters on events held out of the training data."""
