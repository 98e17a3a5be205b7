"""Generation: new hard and new easy instructions."""
