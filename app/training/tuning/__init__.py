"""`marquee tune`: parameters found on events that are held out of the training data."""
