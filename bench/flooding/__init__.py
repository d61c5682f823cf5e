"""What bench/flood.py is made of."""
