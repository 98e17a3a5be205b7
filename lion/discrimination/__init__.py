"""Who is better: referee and scorers, what scores come to, and how far they can be trusted."""
