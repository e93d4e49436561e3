"""The commands of the dorian program, one module for each group of them."""
