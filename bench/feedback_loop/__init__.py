"""What retraining on its own recommendations does to a recommender, in the simulator."""
