"""Application code over reactor's public names: what is served, and to whom. No sockets here."""
