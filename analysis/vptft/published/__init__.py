"""The paper's tables as data, their audit, what they can and cannot show, and whether runs reproduce them."""
