"""How good a student is: scorers, intervals, quality against the teacher."""
