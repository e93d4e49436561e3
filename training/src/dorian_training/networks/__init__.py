"""Networks, one family per file. They take plain numbers; presets that name those numbers stand beside them."""
