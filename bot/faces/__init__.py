"""How things look as a card: the facts people ask for, in the order they ask. One file a noun."""
