"""How much effort to spend: quick, standard or paper."""
