"""How well each version serves people: what users watch of what was recommended to them."""
