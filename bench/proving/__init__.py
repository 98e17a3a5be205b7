"""What `bench/proof.py` is made of: the frozen laboratory, the arms, the loop and the report."""
